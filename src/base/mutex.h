// SPDX-License-Identifier: Apache-2.0
// std::mutex with clang's thread-safety annotations, and a role that names a thread (the engine's) as a capability, so
// that the compiler warns when the wrong thread calls.
#pragma once

#include <condition_variable>
#include <mutex>

#define AUTOGLM_CAPABILITY(x) __attribute__((capability(x)))
#define AUTOGLM_SCOPED_CAPABILITY __attribute__((scoped_lockable))
#define GUARDED_BY(x) __attribute__((guarded_by(x)))
#define REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define EXCLUDES(...) __attribute__((locks_excluded(__VA_ARGS__)))
#define NO_THREAD_SAFETY_ANALYSIS __attribute__((no_thread_safety_analysis))

namespace autoglm::base {

class AUTOGLM_CAPABILITY("mutex") Mutex final {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

class AUTOGLM_SCOPED_CAPABILITY MutexLock final {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : lock_(mutex.native()) {}
  ~MutexLock() RELEASE() {}
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  /// For a condition variable: `while (!ready_) lock.wait(condition_);`
  void wait(std::condition_variable& condition) { condition.wait(lock_); }
  template <typename TimePoint>
  std::cv_status wait_until(std::condition_variable& condition, const TimePoint& until) {
    return condition.wait_until(lock_, until);
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

// The role of being a certain thread. Declare one, mark functions REQUIRES(role), and assume the role where the thread
// starts: `ThreadRoleScope scope(kEngineThread);`
class AUTOGLM_CAPABILITY("role") ThreadRole final {};

class AUTOGLM_SCOPED_CAPABILITY ThreadRoleScope final {
 public:
  explicit ThreadRoleScope(ThreadRole& role) ACQUIRE(role) { (void)role; }
  ~ThreadRoleScope() RELEASE() {}
};

}  // namespace autoglm::base
