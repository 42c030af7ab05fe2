// SPDX-License-Identifier: Apache-2.0
// SHA-256 of bytes as they stream by (OpenSSL). One thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::hub {

class Sha256 final {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  /// 64 lower-case hex digits; the object is spent afterwards.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether it is written as finish() writes one.
bool is_sha256(std::string_view text);

/// The sha256 state after the bytes of a file, so that a resumed transfer can go on from there.
///   Errors   kNotFound, kCorrupt (cannot be read)
Result<Sha256> hash_file(const std::filesystem::path& path);

}  // namespace autoglm::hub
