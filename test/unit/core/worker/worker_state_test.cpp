#include "wee5_cron/core/worker/worker_state.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

namespace wee5::core {
namespace {

using S = WorkerState;
using E = WorkerEvent;

constexpr std::array<E, kWorkerEvents> kEvents = {E::kWanted,
                                                  E::kHeld,
                                                  E::kReleased,
                                                  E::kLaunched,
                                                  E::kLaunchFailed,
                                                  E::kLauncherCame,
                                                  E::kAttached,
                                                  E::kFoundIdle,
                                                  E::kFoundSending,
                                                  E::kFoundBlocked,
                                                  E::kFoundIncompatible,
                                                  E::kStops,
                                                  E::kEnded,
                                                  E::kEndedWithWorkLeft,
                                                  E::kEndedWithoutLedger,
                                                  E::kDied,
                                                  E::kDatabaseGone};

// One row per state, one column per event, in the order of kEvents.
struct Row {
  S state;
  std::array<S, kWorkerEvents> next;
};

constexpr S N = S::kNone, R = S::kReserved, H = S::kHeld, A = S::kAsleep, W = S::kWaiting, L = S::kLaunched,
            LH = S::kLaunchedHeld, ST = S::kStarting, I = S::kIdle, SE = S::kSending, B = S::kBlocked,
            X = S::kIncompatible, SP = S::kStopping, SH = S::kStoppingHeld;

// clang-format off
constexpr std::array<Row, kWorkerStates> kTable = {{
    //      wanted held released launched failed came attached idle send block incomp stops ended left absent died gone
    {N,  {{ W,  R,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N}}},
    {R,  {{ H,  R,  N,  R,  R,  R,  R,  R,  R,  R,  R,  R,  R,  R,  R,  R,  R}}},
    {H,  {{ H,  H,  W,  H,  H,  H,  H,  H,  H,  H,  H,  H,  H,  H,  H,  H,  H}}},
    {A,  {{ W,  H,  A,  A,  A,  A,  A,  A,  A,  A,  A,  A,  A,  A,  A,  A,  N}}},
    {W,  {{ W,  H,  W,  L,  W,  W,  W,  W,  W,  W,  W,  W,  W,  W,  W,  W,  N}}},
    {L,  {{ L,  LH, L,  L,  W,  W,  ST, L,  L,  L,  L,  L,  A,  W,  N,  W,  L}}},
    {LH, {{ LH, LH, L,  LH, H,  H,  LH, LH, LH, LH, LH, LH, H,  H,  H,  H,  LH}}},
    {ST, {{ ST, SH, ST, ST, ST, ST, ST, I,  SE, B,  X,  SP, A,  W,  N,  W,  ST}}},
    {I,  {{ I,  SH, I,  I,  I,  I,  I,  I,  SE, B,  X,  SP, A,  W,  N,  W,  I}}},
    {SE, {{ SE, SH, SE, SE, SE, SE, SE, I,  SE, B,  X,  SP, A,  W,  N,  W,  SE}}},
    {B,  {{ B,  SH, B,  B,  B,  B,  B,  I,  SE, B,  X,  SP, A,  W,  N,  W,  B}}},
    {X,  {{ X,  SH, X,  X,  X,  X,  X,  I,  SE, B,  X,  SP, A,  W,  N,  W,  X}}},
    {SP, {{ SP, SH, SP, SP, SP, SP, SP, SP, SP, SP, SP, SP, A,  W,  N,  W,  SP}}},
    {SH, {{ SH, SH, ST, SH, SH, SH, SH, SH, SH, SH, SH, SH, H,  H,  H,  H,  SH}}},
}};
// clang-format on

TEST(WorkerState, EveryEventInEveryStateLeadsWhereTheTableSays) {
  for (const Row& row : kTable)
    for (std::size_t i = 0; i < kEvents.size(); ++i)
      EXPECT_EQ(next_state(row.state, kEvents[i]), row.next[i])
          << "state " << static_cast<int>(row.state) << ", event " << static_cast<int>(kEvents[i]);
}

TEST(WorkerState, TheTableHasEachStateAndEachEventOnce) {
  std::set<S> states;
  for (const Row& row : kTable) states.insert(row.state);
  EXPECT_EQ(states.size(), static_cast<std::size_t>(kWorkerStates));
  EXPECT_EQ(std::set<E>(kEvents.begin(), kEvents.end()).size(), static_cast<std::size_t>(kWorkerEvents));
}

// Whatever happened before: a request leads to a process, or something is left that will see it.
TEST(WorkerState, NoRequestForAWorkerIsLost) {
  for (const Row& row : kTable) {
    const S wanted = next_state(row.state, E::kWanted);
    const bool seen = wanted == W || has_process(wanted) || is_launched(wanted) || is_held(wanted);
    EXPECT_TRUE(seen) << static_cast<int>(row.state);
    // It is seen when the statement is over.
    if (is_held(wanted)) {
      const S released = next_state(wanted, E::kReleased);
      EXPECT_TRUE(released == W || has_process(released) || is_launched(released)) << static_cast<int>(row.state);
    }
  }
}

TEST(WorkerState, AProcessThatDiesIsAlwaysReplaced) {
  for (const Row& row : kTable) {
    if (!has_process(row.state) && !is_launched(row.state)) continue;
    const S after = next_state(row.state, E::kDied);
    EXPECT_TRUE(after == W || after == H) << static_cast<int>(row.state);
  }
}

TEST(WorkerState, NoWorkerAttachesWhileAStatementNeedsTheDatabase) {
  for (const Row& row : kTable) {
    const S held = next_state(row.state, E::kHeld);
    EXPECT_TRUE(is_held(held)) << static_cast<int>(row.state);
    EXPECT_EQ(next_state(held, E::kAttached), held);
    EXPECT_EQ(next_state(held, E::kLaunched), held);
    EXPECT_FALSE(is_held(next_state(held, E::kReleased))) << static_cast<int>(row.state);
  }
}

TEST(WorkerState, TheLauncherIsNotifiedOfEventsThatConcernIt) {
  EXPECT_TRUE(concerns_launcher(A, W));
  EXPECT_TRUE(concerns_launcher(W, W));
  EXPECT_TRUE(concerns_launcher(L, ST));
  EXPECT_TRUE(concerns_launcher(I, A));
  EXPECT_TRUE(concerns_launcher(SH, H));
  EXPECT_TRUE(concerns_launcher(L, W));
  EXPECT_FALSE(concerns_launcher(I, SE));
  EXPECT_FALSE(concerns_launcher(SE, SH));
  EXPECT_FALSE(concerns_launcher(A, H));
}

TEST(WorkerState, StatesHaveTheWordsOfTheView) {
  const std::set<std::string> words = {"starting", "idle", "sending", "blocked", "incompatible", "stopping", "asleep"};
  std::set<std::string> seen;
  for (const Row& row : kTable) seen.insert(std::string(state_name(row.state)));
  EXPECT_EQ(seen, words);
  EXPECT_EQ(state_name(A), "asleep");
  EXPECT_EQ(state_name(W), "starting");
}

}  // namespace
}  // namespace wee5::core
