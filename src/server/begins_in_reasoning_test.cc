// SPDX-License-Identifier: Apache-2.0
// A template whose prompt ends where thinking begins (GLM-4.7-Flash), with tools: what is thought is bound by nothing,
// and what follows it as anywhere.
#include <fstream>
#include <iterator>

#include "engine/engine.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

// A script says what follows <|assistant|>, which here the template begins.
constexpr std::string_view kThoughts = R"(
== <|user|>add
<think>I write <tool_call> now.</think><tool_call>add<arg_key>a</arg_key><arg_value>2</arg_value></tool_call>
== <|user|>say
<think>I write no <tool_call>.</think>It is four.
== <|user|>forget
<think>I write nothing.</think>It is four.
)";

class BeginsInReasoning : public ServerFixture {
 protected:
  void SetUp() override {
    std::ifstream file(TESTDATA_DIR "/templates/glm47flash.jinja");
    auto glm = text::ChatTemplate::parse(std::string{std::istreambuf_iterator<char>(file), {}}, "", "");
    ASSERT_TRUE(glm) << glm.error().message;
    auto model = engine::load_script(kThoughts);
    ASSERT_TRUE(model) << model.error().message;
    model->card.name = "fake-model";
    model->card.tool_format = text::tool_format_of((*glm)->source()).value();
    model->card.chat_template = std::move(*glm);
    auto generator = engine::start_engine(
        std::move(*model), {.max_batch_size = 4, .context_length = 2048, .kv_bytes = 1u << 20}, clock_, metrics_);
    ASSERT_TRUE(generator) << generator.error().message;
    engine_ = std::move(*generator);
    auto server = start_server(*engine_, {.port = 0}, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void TearDown() override {
    server_.reset();
    engine_.reset();
  }

  static std::string tools(bool is_flat, std::string_view choice) {
    const std::string function =
        R"("name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]})";
    const std::string tool = R"({"type":"function",)" + (is_flat ? function : R"("function":{)" + function + "}") + "}";
    return R"("tools":[)" + tool + R"(],"tool_choice":")" + std::string(choice) + "\"";
  }
  json::Value chat_message(std::string_view text, std::string_view choice) const {
    const net::RawResponse response = post("/v1/chat/completions", chat(text, tools(false, choice)));
    EXPECT_EQ(response.status, 200) << response.body;
    return at(parsed(response.body), "choices", 0, "message");
  }
  json::Value response_output(const std::string& text, std::string_view choice) const {
    const net::RawResponse response =
        post("/v1/responses", R"({"model":"fake-model","input":")" + text + "\"," + tools(true, choice) + "}");
    EXPECT_EQ(response.status, 200) << response.body;
    return at(parsed(response.body), "output");
  }

  std::unique_ptr<generation::Generator> engine_;
};

TEST_F(BeginsInReasoning, AChatThinksAndThenCalls) {
  for (const char* choice : {"auto", "required"}) {
    const json::Value message = chat_message("add", choice);
    EXPECT_EQ(text_of(at(message, "reasoning_content")), "I write <tool_call> now.") << choice;
    EXPECT_EQ(text_of(at(message, "tool_calls", 0, "function", "arguments")), R"({"a":2})") << choice;
  }
}

TEST_F(BeginsInReasoning, AChatThinksAndThenAnswers) {
  const json::Value message = chat_message("say", "auto");
  EXPECT_EQ(text_of(at(message, "reasoning_content")), "I write no <tool_call>.");
  EXPECT_EQ(text_of(at(message, "content")), "It is four.");
  // A call that is required is one also after a thought: the script's text is not it.
  EXPECT_EQ(post("/v1/chat/completions", chat("forget", tools(false, "required"))).status, 500);
}

TEST_F(BeginsInReasoning, AResponseDoesBoth) {
  for (const char* choice : {"auto", "required"}) {
    const json::Value output = response_output("add", choice);
    EXPECT_EQ(text_of(at(output, 0, "type")), "reasoning") << choice;
    EXPECT_EQ(text_of(at(output, 1, "arguments")), R"({"a":2})") << choice;
  }
  const json::Value output = response_output("say", "auto");
  EXPECT_EQ(text_of(at(output, 0, "content", 0, "text")), "I write no <tool_call>.");
  EXPECT_EQ(text_of(at(output, 1, "content", 0, "text")), "It is four.");
}

}  // namespace
}  // namespace autoglm::server
