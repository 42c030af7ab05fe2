// SPDX-License-Identifier: Apache-2.0
// The door of kernels/: every operation that the transformer runs, dispatched to scalar/, avx2/ or avx512/ by the Ops
// object that was made for this processor (or forced to an instruction set by a test).
//
// The law of every op: the result for a row does not depend on how many other rows run with it, on the thread count or
// on how a prompt was cut into chunks. Each output element is reduced in one fixed order by one thread; each (format,
// instruction set) has one floating-point path whatever the row count. (docs/decisions/0002-bit-exact.md)
//
// Called from the engine thread; ops fork and join over the thread pool. Shapes are CHECKed: a mismatch is a bug.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/thread_pool.h"
#include "kernels/cpu.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {

enum class Compute : std::uint8_t {
  kFast,   // activations of linear layers may be rounded to int8 (blocks of 32) or bf16; KV in f16
  kExact,  // activations and KV in f32, weights unpacked on the fly
};

// The weights of a linear layer, y = W x, [out_features, in_features], repacked for one instruction set and one
// Compute. Immutable after packing; shared by engines. Opaque: its layout is private to the instruction set's folder.
class PackedLinear {
 public:
  virtual ~PackedLinear() = default;
  virtual std::size_t out_features() const = 0;
  virtual std::size_t in_features() const = 0;
  virtual DType stored_type() const = 0;  // the type in the file
  virtual std::size_t bytes() const = 0;  // memory held
};

// What a linear layer reads: rows of f32 activations prepared once (quantised to int8 blocks, rounded to bf16, or left
// as they are) and used by every layer that has the same input (q, k, v; gate, up). Lives in the arena until it is
// reset.
struct Activations {
  std::size_t rows = 0;
  std::size_t columns = 0;
  const float* f32 = nullptr;       // [rows, columns]; null only where pick() was not asked for it
  const std::int8_t* q8 = nullptr;  // [rows, columns] s8, or null when no layer needs it
  const float* q8_scale = nullptr;  // [rows, columns / 32]: value = q8 * scale
  const float* q8_sum = nullptr;    // [rows, columns / 32]: scale * sum of the block's q8, for formats with an offset
  const std::uint16_t* bf16 = nullptr;  // [rows, columns], or null
};

// Which of the prepared forms the layers behind one input ask for.
struct ActivationForms {
  bool q8 = false;
  bool bf16 = false;
  bool f32 = false;  // the rows as they are, which only pick() may leave out

  ActivationForms operator|(ActivationForms other) const {
    return {.q8 = q8 || other.q8, .bf16 = bf16 || other.bf16, .f32 = f32 || other.f32};
  }
};

struct LinearJob {
  const PackedLinear* weights = nullptr;
  Tensor out;                   // [rows, out_features] f32
  const float* bias = nullptr;  // [out_features] or null
  bool accumulate = false;      // out += instead of out =
};

enum class Activation : std::uint8_t { kSilu, kGeluTanh };  // gate(x) of a gated MLP

enum class RopeStyle : std::uint8_t {
  kHalves,       // NEOX: pairs (j, j + rotary_dim / 2)
  kInterleaved,  // NORM: pairs (2j, 2j + 1)
};

// cos and sin of every position up to the context length, made once per distinct rope of a model. The attention factor
// of yarn or longrope is multiplied in.
struct RopeTable {
  std::size_t positions = 0;
  std::size_t rotary_dim = 0;  // even, <= head_dim; the rest passes through
  RopeStyle style = RopeStyle::kHalves;
  const float* cos = nullptr;  // [positions, rotary_dim / 2]
  const float* sin = nullptr;
};

// What a cache holds keys and values in: f32 goes with exact, the others with fast.
enum class KvType : std::uint8_t { kF32, kF16, kInt8 };

// Paged KV of one layer. Storage of one block, per KV head, in f32 and f16:
//   keys    [head_dim][kBlockTokens]    transposed: scores of 16 tokens are one vector
//   values  [kBlockTokens][head_dim]
// In int8 pairs of codes lie together, which one instruction multiplies and adds, and a token's scale (value = code *
// scale) follows the codes of its block. Keys have gone through the transform of rotate_store(), queries too.
//   keys    [(head_dim + 1) / 2][kBlockTokens][2], then f32 [kBlockTokens]
//   values  [kBlockTokens / 2][head_dim][2], then f32 [kBlockTokens] (after as many bytes as in keys)
struct KvLayer {
  static constexpr std::size_t kBlockTokens = 32;
  static constexpr std::size_t kMaxHeadDim = 512;  // scratch is sized by it; a loader refuses more
  KvType type = KvType::kF16;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::byte* keys = nullptr;  // block b, head h at keys + b * block_stride() + h * head_bytes()
  std::byte* values = nullptr;
  std::size_t block_bytes = 0;  // from a block to the next; 0 = this layer's follow one another
  std::size_t block_stride() const { return block_bytes != 0 ? block_bytes : kv_heads * head_bytes(); }
  std::size_t scale_offset() const { return (head_dim + 1) / 2 * 2 * kBlockTokens; }  // of int8
  std::size_t head_bytes() const {
    if (type == KvType::kInt8) return scale_offset() + kBlockTokens * sizeof(float);
    return head_dim * kBlockTokens * (type == KvType::kF32 ? 4 : 2);
  }
};

// The rows of one sequence within a batch: `rows` new tokens at positions first_position.. , whose KV blocks are
// block_table[position / kBlockTokens].
struct SequenceRows {
  std::size_t first_row = 0;
  std::size_t rows = 0;
  std::size_t first_position = 0;
  const std::uint32_t* block_table = nullptr;
  bool is_long = false;  // turns by the long rope, where the model has one; the same in all steps of a sequence
};

struct RotateStore {
  Tensor query;  // [rows, heads * head_dim] f32, rotated in place
  Tensor key;    // [rows, kv_heads * head_dim] f32; normed and rotated copies go to the cache
  Tensor value;  // [rows, kv_heads * head_dim] f32
  std::size_t heads = 0;
  const float* query_norm = nullptr;  // [head_dim] RMSNorm weight per head before rope, or null
  const float* key_norm = nullptr;
  float norm_eps = 0;
  const RopeTable* rope = nullptr;
  const RopeTable* long_rope = nullptr;  // of sequences that are long; null = the same for all
  // [kv_heads * head_dim] or null, for an int8 cache without soft cap: taken off every rotated key. That moves all
  // scores of a query by the same amount, which softmax does not see.
  const float* key_shift = nullptr;
  KvLayer kv;
  std::span<const SequenceRows> sequences;

  const RopeTable& rope_of(const SequenceRows& sequence) const {
    return sequence.is_long && long_rope != nullptr ? *long_rope : *rope;
  }
};

struct AttentionJob {
  Tensor query;  // [rows, heads * head_dim] f32, rotated
  Tensor out;    // [rows, heads * head_dim] f32, overwritten; must not alias query
  std::size_t heads = 0;
  KvLayer kv;
  float scale = 0;         // multiplies q.k
  float softcap = 0;       // 0 = none, else cap * tanh(score / cap)
  std::size_t window = 0;  // 0 = all earlier positions, else only the last `window` (this one included)
  bool is_causal = true;   // false: every row sees all rows of its sequence, which begins at position 0; no window
  std::span<const SequenceRows> sequences;
};

// How the scores of a router become the shares of its experts.
enum class Gating : std::uint8_t {
  kSoftmax,  // over all experts
  kSigmoid,  // each for itself
};

// Which experts a token meets, and how much of each. The `used` with the highest score (+ bias) are chosen, of equal
// ones those in front; with groups, from the `groups_used` groups whose two best are highest together. Their weights
// are the scores without the bias, normalised where it says so, times `scale`.
//   Source   Shazeer et al. 2017, arXiv:1701.06538; sigmoid, bias and groups: DeepSeek-V3, arXiv:2412.19437, 2.1.2
struct RouteJob {
  static constexpr std::size_t kMaxGroups = 512;
  Tensor logits;                // [rows, experts] f32; becomes the scores
  const float* bias = nullptr;  // [experts], for the choice alone; null = none
  Gating gating = Gating::kSoftmax;
  std::size_t groups = 1;  // divides the experts into runs of at least two, or is 1
  std::size_t groups_used = 1;
  std::size_t used = 1;
  bool is_normalised = false;  // weights of a token sum to 1 before they are scaled
  float scale = 1;
  std::uint32_t* experts = nullptr;  // out [rows, used], rising in a row
  float* weights = nullptr;          // out [rows, used]
};

// The operations for one instruction set. Make one per model with make_ops(); no state but pool and arena.
class Ops {
 public:
  virtual ~Ops() = default;
  virtual Isa isa() const = 0;
  virtual Compute compute() const = 0;
  virtual base::ThreadPool& pool() const = 0;
  virtual Arena& arena() const = 0;

  /// Packs W for this instruction set.
  ///   weights  [out_features, in_features], of any stored type
  ///   Thread   splits over the pool; reads the weights once, front to back
  ///   Cost     O(bytes); the result has memory of its own, so that the file's pages can be let go
  virtual std::unique_ptr<PackedLinear> pack(const Tensor& weights) = 0;

  /// The memory that pack() would hold of such weights; their data are not looked at.
  virtual std::size_t packed_bytes(const Tensor& weights) const = 0;

  /// The forms that weights stored as `type` read. Or-ed over the layers of one input.
  virtual ActivationForms forms(DType type) const = 0;
  ActivationForms forms(const PackedLinear& weights) const { return forms(weights.stored_type()); }

  /// out[t] = prepared(x[t]); memory from the arena.
  virtual Activations prepare(const Tensor& x, ActivationForms forms) = 0;

  /// Prepared rows of RMSNorm(x) * weight: x / sqrt(mean(x^2) + eps). Source: Zhang and Sennrich 2019,
  /// arXiv:1910.07467.
  virtual Activations rms_norm_prepare(const Tensor& x, const float* weight, float eps, ActivationForms forms) = 0;

  /// Prepared rows of act(gate) * up. gate, up: [rows, ffn] f32.
  virtual Activations gated_prepare(const Tensor& gate, const Tensor& up, Activation activation,
                                    ActivationForms forms) = 0;

  /// Rows of prepared activations as an input of their own, in the forms asked for; memory from the arena.
  ///   rows     indices into `in`, which has these forms
  virtual Activations pick(const Activations& in, std::span<const std::uint32_t> rows, ActivationForms forms) = 0;

  /// Chooses the experts of every row.
  virtual void route(const RouteJob& job) = 0;

  /// x[rows[i]] += y[i] * weights[i]; `rows` are different ones. y is scratch afterwards.
  virtual void add_scaled(const Tensor& x, const Tensor& y, std::span<const std::uint32_t> rows,
                          const float* weights) = 0;

  /// x = LayerNorm(x) in place: (x - mean) / sqrt(variance + eps) * weight + bias; its prepared rows. Source: Ba et al.
  /// 2016, arXiv:1607.06450.
  virtual Activations layer_norm_prepare(const Tensor& x, const float* weight, const float* bias, float eps,
                                         ActivationForms forms) = 0;

  /// Prepared rows of GELU(x) = x Phi(x), Phi the normal distribution's.
  virtual Activations gelu_prepare(const Tensor& x, ActivationForms forms) = 0;

  /// Runs all jobs on one input in one fork-join.
  virtual void linear(const Activations& in, std::span<const LinearJob> jobs) = 0;

  /// x[t] += RMSNorm(y[t]) * weight, or x[t] += y[t] when weight is null. (post-norms of Gemma and GLM-4)
  virtual void add_norm(const Tensor& x, const Tensor& y, const float* weight, float eps) = 0;

  /// out[t] = table[ids[t]] * scale, dequantised from the stored rows.
  virtual void embed(const Tensor& table, std::span<const std::int32_t> ids, float scale, const Tensor& out) = 0;

  /// Norms and rotates q and k, rounds k and v to the cache type and writes them to their blocks. For an int8 cache q
  /// and k then go through a Walsh-Hadamard transform per head, over runs of the largest power of two that divides
  /// head_dim: q.k stays what it was, and no channel of k is so much larger than the others that these lose their
  /// digits. (docs/decisions/0012-int8-kv.md)
  virtual void rotate_store(const RotateStore& job) = 0;

  /// Attention of every row, causal unless the job says otherwise, over the paged keys and values of its sequence,
  /// rounded as the cache holds them.
  ///   Cost     O(rows * context * heads * head_dim)
  ///   Source   paged KV: Kwon et al. 2023, arXiv:2309.06180; online softmax: arXiv:1805.02867
  virtual void attention(const AttentionJob& job) = 0;

  /// x = cap * tanh(x / cap) in place (final logits of some Gemmas).
  virtual void softcap(const Tensor& x, float cap) = 0;
};

/// Ops on `isa` (which this machine must have). `pool` and `arena` must outlive it.
std::unique_ptr<Ops> make_ops(Isa isa, Compute compute, base::ThreadPool& pool, Arena& arena);

}  // namespace autoglm::kernels
