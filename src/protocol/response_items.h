// SPDX-License-Identifier: Apache-2.0
// What a conversation of the Responses API consists of: messages, calls, their results, questions for leave. Items that
// a client sends are read into the same objects that our own answers have, with nothing in them that was not checked.
// Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "protocol/field_reader.h"

namespace autoglm::protocol {

/// `input`: a text, or a list of items. Items have an "id" only where the client gave one. Errors: kInvalidArgument
/// with the place ("input[2].content[0].type") in Error::where; items and parts that are not supported are named.
Result<json::Array> read_input(FieldReader& reader);

/// The text of an item's field, or empty.
std::string_view text_of_field(const json::Object& item, std::string_view name);

/// How a failed call's error stands in its item, and the text in it.
json::Value call_error(std::string_view text);
std::string text_of_call_error(const json::Value& error);

}  // namespace autoglm::protocol
