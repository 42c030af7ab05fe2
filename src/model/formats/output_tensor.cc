// SPDX-License-Identifier: Apache-2.0
#include "model/formats/output_tensor.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/json.h"

namespace autoglm::model {
namespace {

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_string(std::string& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

std::uint64_t round_up(std::uint64_t size, std::uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

std::uint64_t element_bytes(std::string_view dtype) {
  constexpr std::pair<std::string_view, std::uint64_t> kSizes[] = {{"I64", 8}, {"I32", 4},  {"F32", 4},
                                                                   {"F16", 2}, {"BF16", 2}, {"I8", 1}};
  const auto* const found = std::ranges::find(kSizes, dtype, &std::pair<std::string_view, std::uint64_t>::first);
  CHECK(found != std::end(kSizes)) << dtype;
  return found->second;
}

}  // namespace

OutputHeader gguf_header(std::span<const GgufFile::Pair> pairs, std::uint64_t alignment,
                         std::span<OutputTensor> tensors) {
  OutputHeader header{.bytes = "GGUF"};
  std::string& out = header.bytes;
  put<std::uint32_t>(out, 3);
  put<std::uint64_t>(out, tensors.size());
  put<std::uint64_t>(out, pairs.size());
  for (const GgufFile::Pair& pair : pairs) {
    put_string(out, pair.key);
    out.append(reinterpret_cast<const char*>(pair.value.data()), pair.value.size());
  }
  std::uint64_t place = 0;
  for (OutputTensor& tensor : tensors) {
    put_string(out, tensor.name);
    put<std::uint32_t>(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (std::size_t d = tensor.shape.size(); d-- > 0;) put<std::uint64_t>(out, tensor.shape[d]);  // fastest first
    put<std::uint32_t>(out, kernels::traits(tensor.type).ggml_id);
    put<std::uint64_t>(out, place);
    tensor.offset = place;
    place += round_up(tensor.bytes, alignment);
  }
  out.resize(round_up(out.size(), alignment), '\0');
  for (OutputTensor& tensor : tensors) tensor.offset += out.size();
  header.file_bytes = out.size() + place;
  return header;
}

OutputHeader safetensors_header(std::span<OutputTensor> tensors) {
  json::Object object{{"__metadata__", json::Object{{"format", "pt"}}}};
  std::uint64_t place = 0;
  for (const std::uint64_t size : {8, 4, 2, 1}) {
    for (OutputTensor& tensor : tensors) {
      if (element_bytes(tensor.dtype) != size) continue;
      json::Array shape(tensor.shape.begin(), tensor.shape.end());
      object[tensor.name] = json::Object{{"dtype", tensor.dtype},
                                         {"shape", std::move(shape)},
                                         {"data_offsets", json::Array{place, place + tensor.bytes}}};
      tensor.offset = place;
      place += tensor.bytes;
    }
  }
  std::string text = json::format(object);
  text.resize(round_up(text.size(), 8), ' ');
  OutputHeader header;
  put<std::uint64_t>(header.bytes, text.size());
  header.bytes += text;
  for (OutputTensor& tensor : tensors) tensor.offset += header.bytes.size();
  header.file_bytes = header.bytes.size() + place;
  return header;
}

}  // namespace autoglm::model
