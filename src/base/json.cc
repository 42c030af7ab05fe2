// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <boost/json/parser.hpp>
#include <charconv>
#include <cmath>
#include <new>
#include <vector>

#include "base/utf8.h"

namespace autoglm::json {
namespace {

// simdjson sizes its tape by the input and indexes it with 32 bits.
constexpr std::size_t kMaxInputBytes = 1ull << 30;
// Also bounds the recursion below and in the destructor of the tree, whatever the caller's budget says.
constexpr std::size_t kMaxDepth = 1024;

// simdjson's tree parser does not tell where it stopped. On the error path only, a second parser finds the place.
std::string offset_of_error(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::parser parser(boost::json::storage_ptr(), options);
  boost::json::error_code error;
  const std::size_t offset = parser.write_some(text.data(), text.size(), error);
  if (!error && offset < text.size()) return " at byte " + std::to_string(offset) + ", after the value";
  if (error) return " at byte " + std::to_string(offset);
  return "";
}

std::unexpected<Error> refuse(std::string_view text, simdjson::error_code error) {
  if (error == simdjson::DEPTH_ERROR) return fail(Code::kExhausted, "the JSON is nested too deep");
  if (error == simdjson::CAPACITY || error == simdjson::MEMALLOC)
    return fail(Code::kExhausted, "the JSON is too large");
  if (error == simdjson::NUMBER_ERROR) {
    return fail(Code::kInvalidArgument,
                "the JSON has a number that is malformed or out of range" + offset_of_error(text));
  }
  if (error == simdjson::UTF8_ERROR)
    return fail(Code::kInvalidArgument, "the JSON is not UTF-8" + offset_of_error(text));
  return fail(Code::kInvalidArgument, "the JSON is malformed" + offset_of_error(text));
}

// Copies simdjson's tree into ours. Recursion is bounded by the budget's depth and by kMaxDepth.
class Builder {
 public:
  explicit Builder(base::Budget& budget) : budget_(budget) {}

  Result<Value> build(simdjson::dom::element element) {
    TRY(budget_.take_steps(1, "the JSON"));
    switch (element.type()) {
      case simdjson::dom::element_type::ARRAY:
        return nested([&] { return build_array(element); });
      case simdjson::dom::element_type::OBJECT:
        return nested([&] { return build_object(element); });
      case simdjson::dom::element_type::INT64:
        return Value(std::int64_t{element});
      case simdjson::dom::element_type::UINT64:
        return Value(std::uint64_t{element});
      case simdjson::dom::element_type::DOUBLE:
        return Value(double{element});
      case simdjson::dom::element_type::STRING:
        return Value(boost_view(element));
      case simdjson::dom::element_type::BOOL:
        return Value(bool{element});
      case simdjson::dom::element_type::NULL_VALUE:
        return Value(nullptr);
    }
    return fail(Code::kInternal, "the JSON reader met a value of no known kind");
  }

 private:
  static boost::json::string_view boost_view(std::string_view text) { return {text.data(), text.size()}; }

  template <typename Build>
  Result<Value> nested(Build build) {
    TRY(budget_.enter("the JSON"));
    Result<Value> value = build();
    budget_.leave();
    return value;
  }

  Result<Value> build_array(simdjson::dom::array source) {
    Array array;
    for (const simdjson::dom::element element : source) array.push_back(TRY(build(element)));
    return Value(std::move(array));
  }

  Result<Value> build_object(simdjson::dom::object source) {
    TRY(refuse_duplicates(source));
    Object object;
    for (const simdjson::dom::key_value_pair field : source) {
      object.emplace(boost_view(field.key), TRY(build(field.value)));
    }
    return Value(std::move(object));
  }

  // By sorting, so that no choice of keys makes it quadratic.
  static Status refuse_duplicates(simdjson::dom::object source) {
    std::vector<std::string_view> keys;
    for (const simdjson::dom::key_value_pair field : source) keys.push_back(field.key);
    std::ranges::sort(keys);
    const auto twin = std::ranges::adjacent_find(keys);
    if (twin == keys.end()) return {};
    std::string name;
    append_string(name, twin->substr(0, 64));
    return fail(Code::kInvalidArgument, "the JSON has the key " + name + " twice in one object");
  }

  base::Budget& budget_;
};

Result<Value> parse_bounded(std::string_view text, base::Budget& budget) {
  simdjson::dom::parser parser;
  if (const auto error = parser.allocate(std::max<std::size_t>(text.size(), 1), kMaxDepth)) return refuse(text, error);
  simdjson::dom::element root;
  if (const auto error = parser.parse(text.data(), text.size()).get(root)) return refuse(text, error);
  return Builder(budget).build(root);
}

void append_escape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  out += "\\u00";
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

template <typename Integer>
void append_integer(std::string& out, Integer number) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace

Result<Value> parse(std::string_view text, base::Budget& budget) {
  if (text.size() > kMaxInputBytes) return fail(Code::kExhausted, "the JSON is larger than 1 GiB");
  TRY(budget.take_bytes(text.size(), "the JSON"));
  try {
    return parse_bounded(text, budget);
  } catch (const std::bad_alloc&) {
    return fail(Code::kExhausted, "the JSON does not fit into memory");
  } catch (const std::exception& error) {
    return fail(Code::kInvalidArgument, std::string("the JSON is malformed: ") + error.what());
  }
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t plain = 0;  // bytes at the front of `text` that need no change
  while (plain < text.size()) {
    const auto byte = static_cast<unsigned char>(text[plain]);
    if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\') {
      ++plain;
      continue;
    }
    if (byte >= 0x80) {
      const base::Utf8Step step = base::utf8_step(text.substr(plain));
      if (step.kind == base::Utf8Step::Kind::kCharacter) {
        plain += step.size;
        continue;
      }
      out.append(text.substr(0, plain)).append(base::kReplacementCharacter);
      text.remove_prefix(plain + step.size);
    } else {
      out.append(text.substr(0, plain));
      append_escape(out, text[plain]);
      text.remove_prefix(plain + 1);
    }
    plain = 0;
  }
  out.append(text);
  out += '"';
}

void append_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  // Shortest digits that read back equal; written out in full where the exponent is in [-4, 16), as most writers do.
  std::array<char, 40> digits;
  char* const begin = digits.data();
  char* const limit = begin + digits.size();
  const double size = std::abs(number);
  const bool in_full = size == 0 || (size >= 1e-4 && size < 1e16);
  const char* end =
      std::to_chars(begin, limit, number, in_full ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  const std::string_view shortest(begin, end);
  out.append(shortest);
  if (in_full && shortest.find('.') == std::string_view::npos) out += ".0";  // stays a double when read back
}

void format_to(std::string& out, const Value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      out += "null";
      return;
    case boost::json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      return;
    case boost::json::kind::int64:
      append_integer(out, value.get_int64());
      return;
    case boost::json::kind::uint64:
      append_integer(out, value.get_uint64());
      return;
    case boost::json::kind::double_:
      append_number(out, value.get_double());
      return;
    case boost::json::kind::string:
      append_string(out, value.get_string());
      return;
    case boost::json::kind::array: {
      char before = '[';
      for (const Value& element : value.get_array()) {
        out += before;
        format_to(out, element);
        before = ',';
      }
      out += before == '[' ? "[]" : "]";
      return;
    }
    case boost::json::kind::object: {
      char before = '{';
      for (const auto& [key, field] : value.get_object()) {
        out += before;
        append_string(out, key);
        out += ':';
        format_to(out, field);
        before = ',';
      }
      out += before == '{' ? "{}" : "}";
      return;
    }
  }
}

std::string format(const Value& value) {
  std::string out;
  format_to(out, value);
  return out;
}

std::string pointer_to(std::string_view parent, std::string_view key) {
  std::string pointer(parent);
  pointer += '/';
  for (const char c : key) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  return pointer;
}

}  // namespace autoglm::json
