// SPDX-License-Identifier: Apache-2.0
// Messages of a conversation in the OpenAI chat form, as chat templates take them. What a tool or a person wrote is a
// string in them and nothing else, whatever it spells. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/action.h"
#include "base/json.h"

namespace autoglm::agent {

json::Object system_message(std::string_view text);
json::Object user_message(std::string_view text);
/// What the model said, and the calls that it asked for; arguments stay an object, as most templates want them. The
/// content is "" rather than null without text: not every template looks before it prints.
json::Object assistant_message(std::string_view text, const std::vector<ActionCall>& calls);
json::Object tool_message(const ActionCall& call, std::string_view text);

std::string_view role_of(const json::Object& message);
std::string_view content_of(const json::Object& message);
/// The calls of an assistant's message; none of any other.
std::vector<ActionCall> calls_of(const json::Object& message);

/// `text` as well-formed UTF-8: what is ill-formed becomes U+FFFD, so that a message reads the same after it was
/// stored.
std::string well_formed(std::string_view text);

}  // namespace autoglm::agent
