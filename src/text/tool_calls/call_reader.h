// SPDX-License-Identifier: Apache-2.0
// Reads the calls behind one opening marker, byte by byte. One implementation for each way of writing calls; what they
// understand goes to a CallSink at once. A reader takes each byte once and keeps a bounded state. One sequence's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace autoglm::text {

class CallSink {
 public:
  virtual ~CallSink() = default;
  virtual void begin(std::string_view name) = 0;
  /// More of the arguments' JSON text.
  virtual void arguments(std::string_view json) = 0;
  /// False: what arguments() got is not the text of a JSON object.
  virtual bool end() = 0;
};

class CallReader {
 public:
  enum class Step : std::uint8_t {
    kMore,
    kDone,        // the byte was the last of the last call
    kDoneBefore,  // the last call had ended before this byte, which was not taken
    kNoCall,      // the text is no call after all: the sink got nothing. The byte was not taken
    kBroken,      // it is one, and cannot be read. The byte was not taken
  };
  virtual ~CallReader() = default;
  virtual Step step(char c, CallSink& sink) = 0;
  /// The text ends here: kDone or kMore (it is cut).
  virtual Step finish(CallSink&) { return Step::kMore; }
};

/// Whether JSON with that name is a call although no marker says so.
using MayBeCalled = std::function<bool(std::string_view name)>;

/// JSON: {"name": ..., "arguments" or "parameters": ...}, or a list of them. `is_certain`: it stands behind a marker.
std::unique_ptr<CallReader> json_call_reader(bool is_certain, std::size_t max_depth, MayBeCalled may_be_called);

/// Bits of what a tool's argument may be (tool_calls/argument_kinds.h).
using KindsOfArgument = std::function<unsigned(std::string_view name, std::string_view key)>;

/// GLM: name<arg_key>k</arg_key><arg_value>v</arg_value>...</tool_call>, or JSON as above in its place.
std::unique_ptr<CallReader> glm_call_reader(std::size_t max_depth, KindsOfArgument kinds_of);

/// Qwen3-Coder: <function=name><parameter=k>v</parameter>...</function>, or JSON as above in its place. `has_tag`: the
/// first tag was read up to its name.
std::unique_ptr<CallReader> function_call_reader(bool has_tag, std::size_t max_depth, KindsOfArgument kinds_of);

/// Mistral: a list as above, or name[ARGS]{...}.
std::unique_ptr<CallReader> mistral_call_reader(std::size_t max_depth);

/// GLM-4: the object of arguments behind the line with `name`. That line may end with so many blanks.
inline constexpr std::size_t kMostBlanksBehindName = 4;
std::unique_ptr<CallReader> line_call_reader(std::string_view name, std::size_t max_depth);

/// AutoGLM: action="Tap", element=[1,2]) behind `do(`, message="...") behind `finish(`; `name` is do or finish.
std::unique_ptr<CallReader> autoglm_call_reader(std::string_view name, std::size_t max_depth);

}  // namespace autoglm::text
