// SPDX-License-Identifier: Apache-2.0
// One request cannot end the engine: whatever throws on its behalf ends it, with kInternal, and nobody else notices.
#include <new>
#include <stdexcept>

#include "simulation/step_loop_fixture.h"

namespace autoglm::simulation {
namespace {

using generation::FinishReason;
using generation::Request;
using Containment = StepLoopTest;

TEST_F(Containment, AFaultThatNobodyCausedIsRepeatedUnnoticed) {
  const Request asked = request("patient", 40);
  const std::string expected = heard_alone(asked);
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 3; ++i) submit(asked, recorders.emplace_back(std::make_shared<Recorder>()));
  for (int i = 0; i < 20; ++i) {
    faulty_.throws_once = true;
    step();
  }
  run_to_end();
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->heard, expected);
}

// Where the engine calls what it does not know: one of these throws for the guilty request.
enum class CallSite {
  kForward,
  kPromptSink,
  kTokenSink,
  kFinishSink,
  kMask,
  kAccept,
  kIsFinished,
  kText,
};

class GuiltySink final : public generation::Sink {
 public:
  explicit GuiltySink(CallSite site) : site_(site) {}
  void on_prompt_logprobs(std::vector<generation::TokenEvent>) override { throw_at(CallSite::kPromptSink); }
  void on_token(generation::TokenEvent) override { throw_at(CallSite::kTokenSink); }
  void on_finish(generation::Finish ended) override {
    ++finishes;
    finish = std::move(ended);
    throw_at(CallSite::kFinishSink);
  }
  int finishes = 0;
  generation::Finish finish;

 private:
  void throw_at(CallSite site) const {
    if (site == site_) throw std::runtime_error("a sink must not throw");
  }
  const CallSite site_;
};

// Allows everything; throws after some tokens.
class GuiltyMatcher final : public text::Matcher {
 public:
  explicit GuiltyMatcher(CallSite site) : site_(site) {}
  Status mask(std::span<std::uint32_t> words) override {
    if (site_ == CallSite::kMask && accepted_ == 3) throw std::runtime_error("a mask");
    std::ranges::fill(words, ~0u);
    return {};
  }
  Status accept(engine::TokenId) override {
    if (site_ == CallSite::kAccept && accepted_ == 3) throw std::runtime_error("a token");
    ++accepted_;
    return {};
  }
  bool is_finished() const override {
    if (site_ == CallSite::kIsFinished && accepted_ == 3) throw std::runtime_error("an end");
    return false;
  }

 private:
  const CallSite site_;
  int accepted_ = 0;
};

// The script's tokenizer until its words are asked for once too often.
class GuiltyTokenizer final : public text::Tokenizer {
 public:
  GuiltyTokenizer(const text::Tokenizer& good, CallSite site) : good_(good), site_(site) {}
  std::string_view token_bytes(engine::TokenId id) const override {
    if (site_ == CallSite::kText && ++asked_ == 10) throw std::bad_alloc();
    return good_.token_bytes(id);
  }
  Result<std::vector<engine::TokenId>> encode(std::string_view text, const EncodeOptions& options) const override {
    return good_.encode(text, options);
  }
  Result<std::string> decode(std::span<const engine::TokenId> ids, bool skip) const override {
    return good_.decode(ids, skip);
  }
  std::size_t vocab() const override { return good_.vocab(); }
  bool is_special(engine::TokenId id) const override { return good_.is_special(id); }
  engine::TokenId id_of(std::string_view token) const override { return good_.id_of(token); }
  engine::TokenId bos() const override { return good_.bos(); }
  std::span<const engine::TokenId> eos() const override { return good_.eos(); }
  bool adds_bos() const override { return good_.adds_bos(); }
  bool strips_leading_space() const override { return good_.strips_leading_space(); }

 private:
  const text::Tokenizer& good_;
  const CallSite site_;
  mutable int asked_ = 0;
};

TEST_F(Containment, AFaultAtAnyCallSiteEndsItsOwnRequestAndNoOther) {
  const Request asked = request("innocent", 40);
  const std::string expected = heard_alone(asked);
  for (const CallSite site : {CallSite::kForward, CallSite::kPromptSink, CallSite::kTokenSink, CallSite::kFinishSink,
                              CallSite::kMask, CallSite::kAccept, CallSite::kIsFinished, CallSite::kText}) {
    SCOPED_TRACE(static_cast<int>(site));
    auto before = std::make_shared<Recorder>();
    auto after = std::make_shared<Recorder>();
    submit(asked, before);
    step(5);
    Request guilty = request("guilty", 40);
    guilty.want_prompt_logprobs = true;
    if (site == CallSite::kForward) guilty.prompt[2] = FaultyModel::kThrowingToken;
    const auto sink = std::make_shared<GuiltySink>(site);
    const GuiltyTokenizer tokenizer(*model_.card.tokenizer, site);
    engine::SamplingState state(guilty, {engine::kEndToken}, 1, engine::kScriptVocab, 40,
                                std::make_unique<GuiltyMatcher>(site));
    loop_->add(std::make_unique<engine::Sequence>(++last_ticket_, guilty, sink, std::move(state), 40, tokenizer,
                                                  clock_.now()));
    submit(asked, after);
    run_to_end();
    EXPECT_EQ(sink->finishes, 1);
    if (site != CallSite::kFinishSink) {
      ASSERT_TRUE(sink->finish.error.has_value());
      EXPECT_EQ(sink->finish.error->code, Code::kInternal);
      EXPECT_EQ(sink->finish.reason, FinishReason::kError);
    }
    for (const auto& innocent : {before, after}) {
      EXPECT_EQ(innocent->heard, expected);
      EXPECT_FALSE(innocent->finish->error.has_value());
    }
  }
}

}  // namespace
}  // namespace autoglm::simulation
