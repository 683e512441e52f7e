#include "wee5_cron/pg/registry/ended_calls.h"

namespace wee5::pg {

namespace {

// 16 kB. Calls get their ids one after the other, so that few of those that end together share a variable.
constexpr uint32 kVariables = 1024;
constexpr uint32 kBitsPerWord = 64;

struct EndedCalls {
  ConditionVariable variables[kVariables];
};
EndedCalls* shared = nullptr;

// The variables to signal at the end of this transaction: one bit each.
uint64 noted[kVariables / kBitsPerWord];

shmem_startup_hook_type previous_startup_hook = nullptr;
SharedMemoryRequestHook previous_request_hook = nullptr;

uint32 variable_of(int64 id) { return (static_cast<uint32>(id) + murmurhash32(MyDatabaseId)) % kVariables; }

void request_memory() {
  if (previous_request_hook != nullptr) previous_request_hook();
  RequestAddinShmemSpace(sizeof(EndedCalls));
}

void set_up_memory() {
  if (previous_startup_hook != nullptr) previous_startup_hook();
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  shared = static_cast<EndedCalls*>(ShmemInitStruct("wee5_cron ended calls", sizeof(EndedCalls), &found));
  if (!found)
    for (ConditionVariable& variable : shared->variables) ConditionVariableInit(&variable);
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void install_ended_calls() {
  previous_startup_hook = shmem_startup_hook;
  shmem_startup_hook = set_up_memory;
  previous_request_hook = on_shared_memory_request(request_memory);
}

ConditionVariable* ended_call_variable(int64 id) {
  return shared != nullptr ? &shared->variables[variable_of(id)] : nullptr;
}

void note_ended_call(int64 id) {
  uint32 variable = variable_of(id);
  noted[variable / kBitsPerWord] |= UINT64CONST(1) << (variable % kBitsPerWord);
}

void announce_ended_calls() {
  for (uint32 word = 0; word < kVariables / kBitsPerWord; ++word) {
    uint64 bits = noted[word];
    noted[word] = 0;
    for (; bits != 0 && shared != nullptr; bits &= bits - 1)
      ConditionVariableBroadcast(
          &shared->variables[word * kBitsPerWord + static_cast<uint32>(pg_rightmost_one_pos64(bits))]);
  }
}

void forget_ended_calls() { memset(noted, 0, sizeof(noted)); }

}  // namespace wee5::pg
