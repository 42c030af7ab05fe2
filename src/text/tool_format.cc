// SPDX-License-Identifier: Apache-2.0
#include "text/tool_format.h"

#include <array>
#include <utility>

namespace autoglm::text {

std::string_view tool_format_name(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
      return "hermes";
    case ToolFormat::kLlama3:
      return "llama3";
    case ToolFormat::kGlmXml:
      return "glm";
    case ToolFormat::kJson:
      return "json";
    case ToolFormat::kAutoGlm:
      return "autoglm";
    case ToolFormat::kGlm4:
      return "glm4";
    case ToolFormat::kMistral:
      return "mistral";
    case ToolFormat::kMistralArgs:
      return "mistral-args";
    case ToolFormat::kFunctionXml:
      return "function-xml";
    case ToolFormat::kPhi4:
      return "phi4";
  }
  return "";
}

// A template that tells its model how to write a call spells the marker out; the rarest spelling is looked for first.
std::optional<ToolFormat> tool_format_of(std::string_view template_source) {
  constexpr std::array<std::pair<std::string_view, ToolFormat>, 11> kSigns = {{
      {"do(action=", ToolFormat::kAutoGlm},
      {"<arg_key>", ToolFormat::kGlmXml},
      {"<parameter=", ToolFormat::kFunctionXml},
      {"<tool_call>", ToolFormat::kHermes},
      {"[ARGS]", ToolFormat::kMistralArgs},
      {"[TOOL_CALLS]", ToolFormat::kMistral},
      {"<|tool|>", ToolFormat::kPhi4},
      {"请使用 Json 格式", ToolFormat::kGlm4},  // "use the Json format", for the arguments
      {"<|python_tag|>", ToolFormat::kLlama3},
      {"\"parameters\"", ToolFormat::kLlama3},
      {"\"arguments\"", ToolFormat::kJson},
  }};
  if (!template_source.contains("tools") && !template_source.contains("do(action=")) return std::nullopt;
  for (const auto& [sign, format] : kSigns) {
    if (template_source.contains(sign)) return format;
  }
  return std::nullopt;
}

}  // namespace autoglm::text
