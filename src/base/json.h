// SPDX-License-Identifier: Apache-2.0
// The one JSON facade: simdjson reads untrusted bytes, Boost.JSON is the tree, and the writers are ours. Key order is
// kept, duplicate keys are refused, numbers keep their kind (int64, uint64, double). Any thread.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/budget.h"
#include "base/result.h"

namespace autoglm::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;
using String = boost::json::string;

/// Parses one JSON document (RFC 8259, UTF-8). Errors: kInvalidArgument with the byte offset (bad JSON, duplicate key,
/// invalid UTF-8, trailing bytes), kExhausted when `budget` is spent (bytes of input, depth, one step a value).
Result<Value> parse(std::string_view text, base::Budget& budget);

/// Compact JSON in the tree's key order, non-ASCII as UTF-8; doubles in the shortest form that reads back equal
/// (0.7 stays 0.7), NaN and infinities as null.
std::string format(const Value& value);
void format_to(std::string& out, const Value& value);

/// Appends `text` as a JSON string with quotes. Ill-formed UTF-8 bytes become U+FFFD.
void append_string(std::string& out, std::string_view text);
/// Appends a number as format() would.
void append_number(std::string& out, double number);

inline std::string_view view(const String& text) { return {text.data(), text.size()}; }

/// RFC 6901 pointer of `key` below `parent`: escapes ~ and /.
std::string pointer_to(std::string_view parent, std::string_view key);

}  // namespace autoglm::json
