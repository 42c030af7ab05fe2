// SPDX-License-Identifier: Apache-2.0
// The Hugging Face hub protocol, as its public documentation describes it: files under resolve/, listings under
// api/models/, X-Linked-Etag = sha256 of a large file.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/json.h"
#include "base/log.h"
#include "hub/checksum.h"
#include "hub/partial_file.h"
#include "hub/sources.h"
#include "net/http_client.h"
#include "net/url.h"

namespace autoglm::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxListingBytes = 16u << 20;
constexpr std::size_t kMaxFiles = 512;
constexpr int kMaxAttempts = 8;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string endpoint() {
  std::string text = variable("HF_ENDPOINT");
  if (text.empty()) text = "https://huggingface.co";
  while (text.ends_with('/')) text.pop_back();
  return text;
}

// The token goes out over TLS, or to this machine itself; never in clear text over a network.
bool may_send_token() {
  const auto url = net::parse_url(endpoint());
  if (!url) return false;
  const bool is_address = url->host.find_first_not_of("0123456789.") == std::string::npos;
  const bool is_here = url->host == "localhost" || url->host == "::1" || (is_address && url->host.starts_with("127."));
  return url->is_tls || is_here;
}

net::HttpFields credentials() {
  const std::string token = variable("HF_TOKEN");
  if (token.empty() || !may_send_token()) return {};
  return {{"authorization", "Bearer " + token}};
}

std::unexpected<Error> status_error(int status, const std::string& what) {
  const std::string token_hint = variable("HF_TOKEN").empty() ? "set HF_TOKEN to a token of yours"
                                 : may_send_token()           ? "HF_TOKEN was not accepted"
                                                              : "HF_TOKEN is only sent over https";
  switch (status) {
    case 401:
      return fail(Code::kUnauthenticated,
                  fmt::format("{} asks who you are, or does not exist (401): {}", what, token_hint));
    case 403:
      return fail(
          Code::kPermissionDenied,
          fmt::format("{} is closed to you (403): accept its licence on the model's page; {}", what, token_hint));
    case 404:
      return fail(Code::kNotFound, fmt::format("{} does not exist (404)", what));
    case 429:
      return fail(Code::kUnavailable, fmt::format("{}: the hub asks to slow down (429); try again later", what));
    default:
      return fail(Code::kUnavailable, fmt::format("{}: the hub answered with status {}", what, status));
  }
}

std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}

// One file on its way: what the server said of it, and what is held already.
class FileTransfer final {
 public:
  FileTransfer(const Source& source, const SourceFile& file, const Transfer& transfer, std::uint64_t before)
      : source_(source), file_(file), transfer_(transfer), before_(before), path_(transfer.staged / file.path) {}

  Result<StoredFile> run() {
    std::error_code error;
    const auto there = fs::file_size(path_, error);
    if (!error && file_.bytes != 0 && there != file_.bytes) fs::remove(path_, error);
    if (auto sha256 = TRY(PartialFile::finished(path_, file_.sha256)); !sha256.empty()) {
      return StoredFile{.path = file_.path, .bytes = there, .sha256 = std::move(sha256)};
    }
    partial_.emplace(TRY(PartialFile::open(path_)));
    TRY(keep_only_known_bytes());
    Status fetched;
    for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
      const std::uint64_t held = partial_->size();
      fetched = attempt_once();
      const bool is_cut = !fetched && fetched.error().code == Code::kUnavailable && partial_->size() > held;
      // A connection that broke on the way is taken up again, as long as each try brings something.
      if (!is_cut && !restart_) break;
      restart_ = false;
    }
    TRY(std::move(fetched));
    if (file_.bytes != 0 && partial_->size() != file_.bytes) {
      return fail(Code::kCorrupt,
                  fmt::format("{} has {} bytes, {} were expected", file_.path, partial_->size(), file_.bytes));
    }
    const std::uint64_t bytes = partial_->size();
    const std::string sha256 = TRY(partial_->finish(expected_sha256_));
    fs::remove(etag_path(), error);
    return StoredFile{.path = file_.path, .bytes = bytes, .sha256 = sha256};
  }

 private:
  fs::path etag_path() const { return path_.string() + ".etag"; }

  // Bytes of an earlier pull may only be built upon when it is certain what they are the beginning of.
  Status keep_only_known_bytes() {
    expected_sha256_ = file_.sha256;
    std::ifstream(etag_path()) >> etag_;
    if (etag_.starts_with("W/")) etag_.clear();
    const bool is_too_long = file_.bytes != 0 && partial_->size() > file_.bytes;
    if (is_too_long || (etag_.empty() && expected_sha256_.empty())) return partial_->truncate(0);
    return {};
  }

  Status attempt_once() {
    if (file_.bytes != 0 && partial_->size() == file_.bytes) return {};
    const std::string where = fmt::format("{}/{}", source_.repository, file_.remote);
    net::HttpGet get;
    get.url = fmt::format("{}/{}/resolve/{}/{}", endpoint(), source_.repository, source_.revision,
                          net::encode_path(file_.remote));
    get.fields = credentials();
    get.offset = partial_->size();
    get.etag = etag_;
    get.socket.is_cancelled = transfer_.is_cancelled;
    bool is_disk_full = false;
    const auto on_head = [&](const net::HttpReply& reply) { return take_head(reply, where); };
    const auto on_body = [&](std::string_view bytes) -> Status {
      if (file_.bytes != 0 && partial_->size() + bytes.size() > file_.bytes) {
        TRY(partial_->truncate(0));
        return fail(Code::kCorrupt, fmt::format("{} is larger than the {} bytes expected", where, file_.bytes));
      }
      const Status written = partial_->append(bytes);
      is_disk_full = !written && written.error().code == Code::kExhausted;
      TRY(written);
      transfer_.on_progress(before_ + partial_->size());
      return {};
    };
    auto reply = net::http_get(get, on_head, on_body);
    if (reply) return {};
    Error error = std::move(reply).error();
    // Exhausted ends a pull, so it is kept for the disk: endless redirects and headers are this hub's trouble alone.
    if (error.code == Code::kExhausted && !is_disk_full) error.code = Code::kUnavailable;
    return fail_in(where, std::move(error));
  }

  Status take_head(const net::HttpReply& reply, const std::string& where) {
    if (reply.status == 416) {  // what we hold is not a beginning of what is there
      restart_ = partial_->size() > 0;
      TRY(partial_->truncate(0));
      return fail(Code::kUnavailable, fmt::format("{} cannot be resumed", where));
    }
    if (reply.status != 200 && reply.status != 206) return status_error(reply.status, where);
    if (reply.status == 200) TRY(partial_->truncate(0));
    if (reply.status == 206) {
      const auto range = reply.field("content-range");
      if (!range.starts_with(fmt::format("bytes {}-", partial_->size()))) {
        TRY(partial_->truncate(0));
        return fail(Code::kCorrupt, fmt::format("{}: asked for the rest, got '{}'", where, base::printable(range)));
      }
    }
    if (const auto linked = unquoted(reply.first_field("x-linked-etag"));
        expected_sha256_.empty() && is_sha256(linked)) {
      expected_sha256_ = linked;
    }
    etag_ = reply.field("etag");
    if (etag_.starts_with("W/") || etag_.size() > 512 || etag_.find_first_of(" \t") != std::string::npos) etag_.clear();
    std::ofstream(etag_path(), std::ios::trunc) << etag_;
    return {};
  }

  const Source& source_;
  const SourceFile& file_;
  const Transfer& transfer_;
  const std::uint64_t before_;
  const fs::path path_;
  std::optional<PartialFile> partial_;
  std::string etag_;
  std::string expected_sha256_;
  bool restart_ = false;
};

Result<json::Value> get_listing(const std::string& repository, const std::function<bool()>& is_cancelled) {
  net::HttpGet get;
  get.url = fmt::format("{}/api/models/{}?blobs=true", endpoint(), repository);
  get.fields = credentials();
  get.socket.is_cancelled = is_cancelled;
  std::string body;
  const auto on_body = [&](std::string_view bytes) -> Status {
    if (body.size() + bytes.size() > kMaxListingBytes) return fail(Code::kExhausted, "the listing is too large");
    body += bytes;
    return {};
  };
  const auto reply = net::http_get(get, [](const net::HttpReply&) { return Status(); }, on_body);
  if (!reply) return fail_in("listing " + repository, reply.error());
  if (reply->status != 200) return status_error(reply->status, "the repository " + repository);
  base::Budget budget({.bytes = kMaxListingBytes, .steps = 4'000'000, .depth = 32});
  auto listing = json::parse(body, budget);
  if (!listing || !listing->is_object())
    return fail(Code::kCorrupt, fmt::format("the listing of {} is not JSON", repository));
  return listing;
}

// The siblings of a listing, with size and sha256 where the hub tells them.
std::vector<SourceFile> listed_files(const json::Object& listing) {
  std::vector<SourceFile> files;
  const auto* siblings = listing.if_contains("siblings");
  if (siblings == nullptr || !siblings->is_array()) return files;
  for (const auto& item : siblings->as_array()) {
    if (!item.is_object()) continue;
    const auto* name = item.as_object().if_contains("rfilename");
    if (name == nullptr || !name->is_string() || !is_safe_path(name->as_string())) continue;
    SourceFile file;
    file.path = file.remote = name->as_string();
    if (const auto* size = item.as_object().if_contains("size");
        size != nullptr && size->is_int64() && size->as_int64() > 0) {
      file.bytes = static_cast<std::uint64_t>(size->as_int64());
    }
    if (const auto* lfs = item.as_object().if_contains("lfs"); lfs != nullptr && lfs->is_object()) {
      const auto* sha = lfs->as_object().if_contains("sha256");
      if (sha != nullptr && sha->is_string() && is_sha256(sha->as_string())) file.sha256 = sha->as_string();
    }
    files.push_back(std::move(file));
  }
  return files;
}

bool is_wanted_with_safetensors(std::string_view path) {
  if (path.find('/') != std::string_view::npos && !path.ends_with("_Pooling/config.json")) return false;
  return path.ends_with(".safetensors") || path.ends_with(".json") || path.ends_with(".jinja") || path == "vocab.txt" ||
         path == "merges.txt" || path == "tokenizer.model";
}

// The files that loading needs; the second is what is loaded.
Result<std::pair<std::vector<SourceFile>, std::string>> choose_files(std::vector<SourceFile> files,
                                                                     const HubReference& reference) {
  const std::string& repository = reference.repository;
  if (!reference.file.empty()) {
    std::erase_if(files, [&](const SourceFile& file) { return file.path != reference.file; });
    if (files.empty()) return fail(Code::kNotFound, fmt::format("{} holds no file {}", repository, reference.file));
    return std::pair(std::move(files), reference.file);
  }
  const auto is_weights = [](const SourceFile& file) {
    return file.path.ends_with(".safetensors") && file.path.find('/') == std::string::npos;
  };
  if (std::ranges::any_of(files, is_weights)) {
    std::erase_if(files, [](const SourceFile& file) { return !is_wanted_with_safetensors(file.path); });
    return std::pair(std::move(files), std::string("."));
  }
  std::erase_if(files, [](const SourceFile& file) { return !file.path.ends_with(".gguf"); });
  if (files.empty())
    return fail(Code::kNotFound, fmt::format("{} holds neither safetensors nor GGUF files", repository));
  if (files.size() > 1) {
    const auto is_usual = [](const SourceFile& file) {
      std::string name = file.path;
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      return name.ends_with("q4_k_m.gguf");
    };
    if (std::ranges::count_if(files, is_usual) != 1) {
      std::string names;
      for (const auto& file : files) names += (names.empty() ? "" : ", ") + file.path;
      return fail(Code::kInvalidArgument, fmt::format("{} holds several models; name one as hf:{}:FILE. There are: {}",
                                                      repository, repository, names));
    }
    std::erase_if(files, [&](const SourceFile& file) { return !is_usual(file); });
  }
  std::string load = files.front().path;
  return std::pair(std::move(files), std::move(load));
}

}  // namespace

Result<std::vector<StoredFile>> fetch_from_hub(const Source& source, const Transfer& transfer) {
  transfer.on_note(fmt::format("from {}/{}", endpoint(), source.repository));
  std::vector<StoredFile> stored;
  std::uint64_t before = 0;
  for (const auto& file : source.files) {
    stored.push_back(TRY(FileTransfer(source, file, transfer, before).run()));
    before += stored.back().bytes;
    transfer.on_progress(before);
  }
  return stored;
}

Result<CatalogueEntry> describe_repository(const HubReference& reference, const std::function<bool()>& is_cancelled) {
  const json::Value listing = TRY(get_listing(reference.repository, is_cancelled));
  auto [files, load] = TRY(choose_files(listed_files(listing.as_object()), reference));
  if (files.size() > kMaxFiles) {
    return fail(Code::kExhausted, fmt::format("{} holds {} files to load, at most {} are taken", reference.repository,
                                              files.size(), kMaxFiles));
  }
  CatalogueEntry entry;
  entry.name = reference.folder_name();
  entry.summary = reference.repository;
  entry.load = load;
  if (const auto* card = listing.as_object().if_contains("cardData"); card != nullptr && card->is_object()) {
    const auto* licence = card->as_object().if_contains("license");
    if (licence != nullptr && licence->is_string()) entry.licence = base::printable(licence->as_string(), 40);
  }
  Source source;
  source.repository = reference.repository;
  // One commit for all files, whatever is pushed meanwhile.
  if (const auto* commit = listing.as_object().if_contains("sha"); commit != nullptr && commit->is_string()) {
    if (is_valid_name(commit->as_string())) source.revision = commit->as_string();
  }
  source.files = std::move(files);
  entry.sources.push_back(std::move(source));
  return entry;
}

}  // namespace autoglm::hub
