// SPDX-License-Identifier: Apache-2.0
// Writes a BERT embedder's folder as a GGUF, with the names, keys and spelling of tokens that llama.cpp's converter has
// (conversion/bert.py). For the parity tests.
#pragma once

#include <filesystem>

namespace autoglm::parity {

/// Ends the test program when the folder is none.
void write_encoder_gguf(const std::filesystem::path& folder, const std::filesystem::path& file);

}  // namespace autoglm::parity
