// SPDX-License-Identifier: Apache-2.0
// Who is served next when several share one thing by weight: start-time fair queueing over costs that are known only
// afterwards. Between any two that have something to do throughout, what each got divided by its weight differs by
// less than one service of each: Goyal, Vin, Cheng, "Start-Time Fair Queuing", SIGCOMM '96, theorem 1. Knows no clock
// and no thread. One thread at a time.
#pragma once

#include <cstddef>
#include <map>
#include <optional>

namespace autoglm::engine {

class FairQueue final {
 public:
  using Member = std::size_t;

  /// `weight` > 0: twice as much is served twice as often. It has nothing to do yet.
  Member join(double weight);
  void leave(Member member);

  /// It has something to do from now on. What it did not use while it rested is not saved up.
  void wake(Member member);
  /// It has nothing to do.
  void rest(Member member);
  bool is_awake(Member member) const { return members_.at(member).is_awake; }

  /// Whose turn it is among those that are awake.
  std::optional<Member> next() const;
  /// Its service begins.
  void begin(Member member) { now_ = members_.at(member).start; }
  /// What the service took, in any unit that is the same for all. At least 0.
  void charge(Member member, double cost);

 private:
  struct State {
    double weight = 1;
    double start = 0;  // virtual time at which its next service begins
    bool is_awake = false;
  };

  std::map<Member, State> members_;
  Member next_member_ = 0;
  double now_ = 0;  // virtual time: the start of the latest service
};

}  // namespace autoglm::engine
