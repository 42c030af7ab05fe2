// SPDX-License-Identifier: Apache-2.0
// Script files of the scripted model. Oracles: a parsed script answers any prompt, within its bounds and twice alike.
#include "base/check.h"
#include "engine/script.h"
#include "fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace autoglm;
  const std::string_view text = fuzz::as_text(data, size);
  const auto script = engine::Script::parse(text);
  if (!script) {
    CHECK(script.error().code == Code::kInvalidArgument || script.error().code == Code::kExhausted);
    return 0;
  }
  for (const std::string_view prompt : {text, std::string_view("weather in Paris"), std::string_view()}) {
    const engine::ScriptReply& reply = script->reply_to(prompt);
    CHECK(!reply.repeats() || !reply.is_empty());
    for (std::size_t said = 0; said < 100; ++said) {
      const text::TokenId token = reply.slot(said);
      CHECK(token >= engine::ScriptReply::kAnyLetter && token < static_cast<int>(engine::kScriptVocab)) << token;
      CHECK(reply.slot(said) == token);
    }
    CHECK(&script->reply_to(prompt) == &reply);
  }
  return 0;
}
