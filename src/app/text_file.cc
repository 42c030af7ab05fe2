// SPDX-License-Identifier: Apache-2.0
#include "app/text_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/log.h"

namespace autoglm::app {

Result<std::string> read_text_file(const std::filesystem::path& path, std::string_view what, std::string_view flag) {
  const std::string name = base::printable(path.string());
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return fail(Code::kInvalidArgument, fmt::format("{} {} is a folder, a file was expected", what, name),
                std::string(flag));
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (file) return text.str();
  return fail(Code::kNotFound, fmt::format("{} {} cannot be read: {}", what, name, std::strerror(errno)),
              std::string(flag));
}

}  // namespace autoglm::app
