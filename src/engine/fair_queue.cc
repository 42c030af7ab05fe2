// SPDX-License-Identifier: Apache-2.0
#include "engine/fair_queue.h"

#include <algorithm>

#include "base/check.h"

namespace autoglm::engine {

FairQueue::Member FairQueue::join(double weight) {
  CHECK(weight > 0) << weight;
  members_[next_member_] = {.weight = weight, .start = now_};
  return next_member_++;
}

void FairQueue::leave(Member member) { members_.erase(member); }

void FairQueue::wake(Member member) {
  State& state = members_.at(member);
  if (state.is_awake) return;
  state.is_awake = true;
  state.start = std::max(state.start, now_);
}

void FairQueue::rest(Member member) { members_.at(member).is_awake = false; }

std::optional<FairQueue::Member> FairQueue::next() const {
  std::optional<Member> first;
  for (const auto& [member, state] : members_) {
    if (state.is_awake && (!first || state.start < members_.at(*first).start)) first = member;
  }
  return first;
}

void FairQueue::charge(Member member, double cost) {
  State& state = members_.at(member);
  state.start += std::max(cost, 0.0) / state.weight;
}

}  // namespace autoglm::engine
