// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a model that came without one: token ids are all there is.
#include "text/tokenizer.h"

namespace autoglm::text {
namespace {

std::unexpected<Error> refuse() {
  return fail(Code::kInvalidArgument, "this model has no tokenizer: it takes and gives token ids only");
}

class IdsOnly final : public Tokenizer {
 public:
  explicit IdsOnly(std::size_t vocab) : vocab_(vocab) {}
  Result<std::vector<TokenId>> encode(std::string_view, const EncodeOptions&) const override { return refuse(); }
  Result<std::string> decode(std::span<const TokenId>, bool) const override { return refuse(); }
  std::size_t vocab() const override { return vocab_; }
  bool has_text() const override { return false; }
  std::string_view token_bytes(TokenId) const override { return {}; }
  bool is_special(TokenId) const override { return false; }
  TokenId id_of(std::string_view) const override { return -1; }
  TokenId bos() const override { return -1; }
  std::span<const TokenId> eos() const override { return {}; }
  bool adds_bos() const override { return false; }
  bool strips_leading_space() const override { return false; }

 private:
  const std::size_t vocab_;
};

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::ids_only(std::size_t vocab) { return std::make_unique<IdsOnly>(vocab); }

}  // namespace autoglm::text
