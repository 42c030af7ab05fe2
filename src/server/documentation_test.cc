// SPDX-License-Identifier: Apache-2.0
// docs/guides and docs/metrics.md say what the code's tables say: routes, parameters, limits, codes, families, stages,
// metrics. With OPENAUTOGLM_WRITE_DOCS=1 in the environment the tables are written instead of compared.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <set>

#include "generation/validate.h"
#include "model/families/encoder_family.h"
#include "model/families/family.h"
#include "protocol/embeddings.h"
#include "protocol/openai_error.h"
#include "protocol/openai_request.h"
#include "protocol/rerank.h"
#include "protocol/response_request.h"
#include "server/routes.h"
#include "telemetry/metrics.h"
#include "text/tokenizer.h"

namespace autoglm::server {
namespace {

const std::string kDocs = std::string(TESTDATA_DIR) + "/../../docs/";

std::string read_document(const std::string& path) {
  std::ifstream file(kDocs + path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The first table under a heading has exactly these rows, below its own heading and ruler.
void expect_table(const std::string& path, const std::string& heading, const std::vector<std::string>& rows) {
  std::string page = read_document(path);
  const auto title = page.find(heading + "\n");
  const auto ruler = page.find("\n|---", title);
  ASSERT_TRUE(title != std::string::npos && ruler != std::string::npos) << path << ": " << heading;
  const auto begin = page.find('\n', ruler + 1) + 1;
  auto end = begin;
  while (page.compare(end, 1, "|") == 0) end = page.find('\n', end) + 1;
  const std::string expected = fmt::format("{}\n", fmt::join(rows, "\n"));
  if (std::getenv("OPENAUTOGLM_WRITE_DOCS") != nullptr) {
    std::ofstream(kDocs + path) << page.replace(begin, end - begin, expected);
  } else {
    EXPECT_EQ(page.substr(begin, end - begin), expected)
        << "to write it: OPENAUTOGLM_WRITE_DOCS=1 build/release/src/server/server_test --gtest_filter='Documents.*'";
  }
}

TEST(Documents, ListEveryRoute) {
  std::vector<std::string> rows;
  for (const Route& route : all_routes())
    rows.push_back(fmt::format("| `{} {}` | {} |", route.method, route.path, route.summary));
  expect_table("guides/api.md", "## Routes", rows);
}

TEST(Documents, ListEveryLimit) {
  std::vector<std::string> rows;
  for (const protocol::Limit& limit : protocol::all_limits())
    rows.push_back(fmt::format("| `{}` | {} |", limit.field, static_cast<std::int64_t>(limit.bound)));
  expect_table("guides/api.md", "## Limits", rows);
}

TEST(Documents, ListEveryErrorCode) {
  std::vector<std::string> rows;
  for (const protocol::ErrorRow& row : protocol::all_errors())
    rows.push_back(fmt::format("| `{}` | {} | `{}` | {} |", code_name(row.code), row.status, row.type, row.meaning));
  expect_table("guides/api.md", "## Errors", rows);
}

TEST(Documents, ListEveryMetric) {
  static constexpr std::string_view kKinds[] = {"counter", "gauge", "histogram"};
  std::vector<std::string> rows;
  for (const telemetry::MetricSpec& spec : telemetry::all_metrics()) {
    const std::string label = spec.label.empty() ? "" : fmt::format("`{}`", spec.label);
    rows.push_back(fmt::format("| `{}` | {} | {} | {} |", spec.name, kKinds[static_cast<std::size_t>(spec.kind)], label,
                               spec.help));
  }
  expect_table("metrics.md", "# Metrics", rows);
}

TEST(Documents, ListEveryStage) {
  static constexpr std::string_view kPlaces[] = {"loading", "caller", "step", "beside the step"};
  std::vector<std::string> rows;
  for (const telemetry::StageSpec& spec : telemetry::all_stages()) {
    rows.push_back(
        fmt::format("| `{}` | {} | {} |", spec.name, kPlaces[static_cast<std::size_t>(spec.place)], spec.meaning));
  }
  expect_table("guides/performance.md", "### The stages", rows);
}

TEST(Documents, ListEveryFamily) {
  const auto word = [](std::string_view text) { return text.empty() ? "" : fmt::format("`{}`", text); };
  std::vector<std::string> rows;
  for (const model::Family* family : model::all_families()) {
    rows.push_back(fmt::format("| {} | {} | {} | {} |", family->name, word(family->architecture),
                               word(family->model_type), family->note));
  }
  expect_table("guides/models.md", "## Which models run", rows);
}

TEST(Documents, ListEveryEncoder) {
  std::vector<std::string> rows;
  for (const model::EncoderFamily* family : model::all_encoder_families()) {
    const std::string gguf = family->architecture.empty() ? "" : fmt::format("`{}`", family->architecture);
    rows.push_back(fmt::format("| {} | {} | `{}` | {} |", family->name, gguf, family->model_type, family->note));
  }
  expect_table("guides/models.md", "## Which encoders run", rows);
}

TEST(Documents, ListEveryParameterOfEmbeddings) {
  const std::string page = read_document("guides/api.md");
  const auto begin = page.find("\n## Embeddings\n");
  const std::string text = page.substr(begin, page.find("\n## ", begin + 1) - begin);
  std::set<std::string> told;
  const std::regex row(R"(\n\| `([a-z_]+)` \|)");
  for (std::sregex_iterator at(text.begin(), text.end(), row), end; at != end; ++at) told.insert((*at)[1]);
  std::set<std::string> known = {"user"};
  for (std::string_view each : protocol::embeddings_parameters()) known.emplace(each);
  EXPECT_EQ(told, known);
}

TEST(Documents, ListEveryParameterOfRerank) {
  const std::string page = read_document("guides/api.md");
  const auto begin = page.find("\n## Rerank\n");
  const std::string text = page.substr(begin, page.find("\n## ", begin + 1) - begin);
  std::set<std::string> told;
  const std::regex row(R"(\n\| `([a-z_]+)` \|)");
  for (std::sregex_iterator at(text.begin(), text.end(), row), end; at != end; ++at) told.insert((*at)[1]);
  std::set<std::string> known = {"user"};
  for (std::string_view each : protocol::rerank_parameters()) known.emplace(each);
  EXPECT_EQ(told, known);
}

// What parameters mean is said by hand; which ones there are is not: those named in the first column of each table and
// in the sentence on the ignored ones.
TEST(Documents, ListEveryParameter) {
  const std::string page = read_document("guides/api.md");
  const auto begin = page.find("\n## Parameters\n");
  const std::string text = page.substr(begin, page.find("\n`/tokenize`", begin) - begin);
  std::set<std::string> told;
  const std::regex table_row(R"(\n\| (`[^|]+) \|)"), name("`([a-z_]+)`");
  const auto add_names = [&](const std::string& part) {
    for (std::sregex_iterator at(part.begin(), part.end(), name), end; at != end; ++at) told.insert((*at)[1]);
  };
  for (std::sregex_iterator row(text.begin(), text.end(), table_row), end; row != end; ++row) add_names((*row)[1]);
  add_names(text.substr(text.find("Taken and ignored")));
  std::set<std::string> known;
  for (std::string_view each : protocol::chat_parameters()) known.emplace(each);
  for (std::string_view each : protocol::completion_parameters()) known.emplace(each);
  for (std::string_view each : protocol::harmless_parameters()) known.emplace(each);
  EXPECT_EQ(told, known);
}

TEST(Documents, ListEveryParameterOfResponses) {
  const std::string page = read_document("guides/responses.md");
  const auto begin = page.find("\n| parameter | takes | meaning |");
  const std::string table = page.substr(begin, page.find("\n\n", begin) - begin);
  std::set<std::string> told;
  const std::regex row(R"(\n\| (`[^|]+) \|)"), name("`([a-z_]+)`");
  for (std::sregex_iterator line(table.begin(), table.end(), row), end; line != end; ++line) {
    const std::string names = (*line)[1];
    for (std::sregex_iterator each(names.begin(), names.end(), name), last; each != last; ++each)
      told.insert((*each)[1]);
  }
  std::set<std::string> known;
  for (std::string_view each : protocol::response_parameters()) known.emplace(each);
  EXPECT_EQ(told, known);
}

// Two floors that do not know each other bound the same fields.
TEST(Limits, OfTheWireAreThoseOfTheEngine) {
  EXPECT_EQ(static_cast<float>(protocol::kMaxTemperature), generation::kMaxTemperature);
  EXPECT_EQ(static_cast<float>(protocol::kMaxOccurrencePenalty), generation::kMaxOccurrencePenalty);
  EXPECT_EQ(static_cast<float>(protocol::kMaxRepetitionPenalty), generation::kMaxRepetitionPenalty);
  EXPECT_EQ(static_cast<float>(protocol::kMaxLogitBiasValue), generation::kMaxLogitBias);
  EXPECT_EQ(protocol::kMaxLogitBias, generation::kMaxLogitBiasEntries);
  EXPECT_EQ(protocol::kMaxStops, generation::kMaxStopStrings);
  EXPECT_EQ(protocol::kMaxStopBytes, generation::kMaxStopStringBytes);
  EXPECT_EQ(protocol::kMaxStopTokens, generation::kMaxStopTokens);
  EXPECT_EQ(protocol::kMaxTopLogprobs, generation::kMaxTopLogprobs);
}

// Those of texts are the tokenizer's, which knows nothing of requests.
TEST(Limits, OfTextsAreThoseOfTheTokenizer) {
  std::ifstream file(std::string(TESTDATA_DIR) + "/golden/tokenizers/bpe_llama3/tokenizer.json");
  const std::string json{std::istreambuf_iterator<char>(file), {}};
  base::Budget budget;
  const auto tokenizer = text::Tokenizer::from_json(json, "", budget);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto code_of = [&](const std::string& text) {
    const auto ids = (*tokenizer)->encode(text, {.most_ids = 1});
    return ids ? std::nullopt : std::optional(ids.error().code);
  };
  std::string words;
  while (words.size() < protocol::kMaxTextBytes) words += "word ";
  words.resize(protocol::kMaxTextBytes, '.');
  EXPECT_EQ(code_of(words), std::nullopt);
  EXPECT_EQ(code_of(words + "."), Code::kExhausted);
  EXPECT_EQ(code_of(std::string(protocol::kMaxWhiteRun, ' ')), std::nullopt);
  EXPECT_EQ(code_of(std::string(protocol::kMaxWhiteRun + 1, ' ')), Code::kExhausted);
}

}  // namespace
}  // namespace autoglm::server
