// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts: the router's choice, an expert's rows out of a batch, and its results back. A row is chosen for,
// picked and added to without a look at any other row.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/row_kernels.h"
#include "kernels/row_split.h"
#include "kernels/row_table.h"

namespace autoglm::kernels {
namespace {

// Logits to scores in place.
void score(const RowTable& table, Gating gating, float* x, std::size_t experts) {
  if (gating == Gating::kSigmoid) {
    for (std::size_t e = 0; e < experts; ++e) x[e] = -x[e];
    table.exponential(x, experts, x);
    for (std::size_t e = 0; e < experts; ++e) x[e] = 1 / (1 + x[e]);
    return;
  }
  const float largest = *std::max_element(x, x + experts);
  for (std::size_t e = 0; e < experts; ++e) x[e] -= largest;
  table.exponential(x, experts, x);
  const float total = std::accumulate(x, x + experts, 0.0f);
  for (std::size_t e = 0; e < experts; ++e) x[e] /= total;
}

// Chooses for one row.
class Chooser final {
 public:
  Chooser(const RouteJob& job, const float* scores) : job_(job), scores_(scores) {
    if (job.groups > 1) open_groups();
  }

  // Writes the experts in falling order. Whatever the scores, NaN too, they are `used` different ones.
  void choose(std::uint32_t* chosen) const {
    const std::size_t experts = job_.logits.columns;
    for (std::size_t place = 0; place < job_.used; ++place) {
      std::size_t best = experts;
      for (std::size_t e = 0; e < experts; ++e) {
        if (job_.groups > 1 && !is_open_[e / group_size()]) continue;
        if (best != experts && !(value(e) > value(best))) continue;
        if (std::find(chosen, chosen + place, e) == chosen + place) best = e;
      }
      chosen[place] = static_cast<std::uint32_t>(best);
    }
  }

 private:
  float value(std::size_t expert) const { return scores_[expert] + (job_.bias == nullptr ? 0 : job_.bias[expert]); }
  std::size_t group_size() const { return job_.logits.columns / job_.groups; }

  // The best groups: fewer than `groups_used` are better, or as good and in front.
  void open_groups() {
    float values[RouteJob::kMaxGroups];
    for (std::size_t group = 0; group < job_.groups; ++group) values[group] = group_value(group);
    for (std::size_t group = 0; group < job_.groups; ++group) {
      std::size_t better = 0;
      for (std::size_t other = 0; other < job_.groups; ++other) {
        better += values[other] > values[group] || (values[other] == values[group] && other < group) ? 1 : 0;
      }
      is_open_[group] = better < job_.groups_used;
    }
  }

  // The sum of the two best; never NaN, so that some groups are open.
  float group_value(std::size_t group) const {
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    float first = kNone;
    float second = kNone;
    for (std::size_t e = group * group_size(); e < (group + 1) * group_size(); ++e) {
      second = std::max(second, std::min(first, value(e)));
      first = std::max(first, value(e));
    }
    return first + second == first + second ? first + second : kNone;
  }

  const RouteJob& job_;
  const float* scores_;
  bool is_open_[RouteJob::kMaxGroups];
};

void weigh(const RouteJob& job, const float* scores, const std::uint32_t* chosen, float* weights) {
  // Keeps shares that all rounded to zero from becoming no number. Source: transformers, modeling_glm4_moe.py.
  constexpr float kTiny = 1e-20f;
  float total = 0;
  for (std::size_t i = 0; i < job.used; ++i) total += scores[chosen[i]];
  for (std::size_t i = 0; i < job.used; ++i) {
    weights[i] = (job.is_normalised ? scores[chosen[i]] / (total + kTiny) : scores[chosen[i]]) * job.scale;
  }
}

}  // namespace

void RowKernels::route(const RouteJob& job) const {
  const std::size_t experts = job.logits.columns;
  CHECK(job.used > 0 && job.used <= experts) << job.used << " of " << experts << " experts";
  CHECK(job.groups > 0 && job.groups <= RouteJob::kMaxGroups && experts % job.groups == 0 && job.groups_used > 0 &&
        job.groups_used <= job.groups)
      << job.groups_used << " of " << job.groups << " groups of " << experts;
  CHECK(job.groups == 1 || (experts / job.groups >= 2 && experts / job.groups * job.groups_used >= job.used))
      << job.used << " experts of " << job.groups_used << " groups of " << experts / job.groups;
  split_rows(pool_, job.logits.rows, experts * (job.used + 8), [&](std::size_t row) {
    float* const scores = job.logits.f32(row);
    std::uint32_t* const chosen = job.experts + row * job.used;
    score(table_, job.gating, scores, experts);
    Chooser(job, scores).choose(chosen);
    std::sort(chosen, chosen + job.used);
    weigh(job, scores, chosen, job.weights + row * job.used);
  });
}

Activations RowKernels::pick(const Activations& in, std::span<const std::uint32_t> rows, ActivationForms forms) const {
  Activations out{.rows = rows.size(), .columns = in.columns};
  struct Part {
    const std::byte* from;
    std::byte* to;
    std::size_t bytes;  // of a row
  };
  Part parts[5];
  std::size_t count = 0;
  const auto take = [&]<typename T>(bool is_wanted, const T* from, std::size_t columns, const T*& to) {
    if (!is_wanted) return;
    CHECK(from != nullptr || rows.empty()) << "rows without the form that is asked for";
    T* const copy = arena_.take_array<T>(rows.size() * columns);
    to = copy;
    parts[count++] = {reinterpret_cast<const std::byte*>(from), reinterpret_cast<std::byte*>(copy),
                      columns * sizeof(T)};
  };
  take(forms.f32, in.f32, in.columns, out.f32);
  take(forms.q8, in.q8, in.columns, out.q8);
  take(forms.q8, in.q8_scale, in.columns / 32, out.q8_scale);
  take(forms.q8, in.q8_sum, in.columns / 32, out.q8_sum);
  take(forms.bf16, in.bf16, in.columns, out.bf16);
  split_rows(pool_, rows.size(), in.columns, [&](std::size_t i) {
    DCHECK(rows[i] < in.rows) << "row " << rows[i] << " of " << in.rows;
    for (const Part& part : std::span(parts).first(count)) {
      std::memcpy(part.to + i * part.bytes, part.from + rows[i] * part.bytes, part.bytes);
    }
  });
  return out;
}

void RowKernels::add_scaled(const Tensor& x, const Tensor& y, std::span<const std::uint32_t> rows,
                            const float* weights) const {
  CHECK(x.type == DType::kF32 && y.type == DType::kF32 && x.columns == y.columns && y.rows == rows.size())
      << "[" << y.rows << ", " << y.columns << "] for " << rows.size() << " rows of " << x.columns;
  split_rows(pool_, rows.size(), 2 * x.columns, [&](std::size_t i) {
    table_.multiply(y.f32(i), weights[i], y.columns);
    table_.add(x.f32(rows[i]), y.f32(i), y.columns);
  });
}

}  // namespace autoglm::kernels
