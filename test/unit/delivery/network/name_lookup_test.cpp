// What a host name leads to, and a resolver that hangs.

#include "wee5_cron/delivery/network/name_lookup.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>

#include "network/hanging_resolver.hpp"

namespace wee5::delivery::test {
namespace {

void finish(NameLookup& lookup) {
  for (int steps = 0; steps < 1000; ++steps) {
    if (lookup.step(20)) return;
  }
  ADD_FAILURE() << "the lookup does not end";
}

TEST(NameLookup, AnAddressNeedsNoLookup) {
  NameLookup lookup("192.0.2.7");
  finish(lookup);
  EXPECT_EQ(lookup.address(), "192.0.2.7");
  EXPECT_EQ(lookup.error(), "");
}

TEST(NameLookup, AnIpv6AddressInBracketsNeedsNoLookup) {
  NameLookup lookup("[2001:db8::1]");
  finish(lookup);
  EXPECT_EQ(lookup.address(), "2001:db8::1");
}

TEST(NameLookup, ReturnsTheAddressOfAName) {
  NameLookup lookup("app.local.test");
  finish(lookup);
  EXPECT_EQ(lookup.address(), "127.0.0.1");
  EXPECT_EQ(lookup.error(), "");
}

TEST(NameLookup, ReportsANameThatDoesNotExist) {
  NameLookup lookup("app.nowhere.test");
  finish(lookup);
  EXPECT_EQ(lookup.address(), "");
  EXPECT_NE(lookup.error().find("app.nowhere.test"), std::string::npos) << lookup.error();
}

TEST(NameLookup, DoesNotWaitForAResolverThatHangs) {
  ASSERT_TRUE(NameLookup::possible());
  HangingResolver resolver;
  auto lookup = std::make_unique<NameLookup>("app.hang.test");
  EXPECT_FALSE(lookup->step(1));
  ASSERT_TRUE(resolver.wait_for_lookups(1));
  EXPECT_FALSE(lookup->step(1));
  EXPECT_FALSE(resolver.took_signals());
  lookup.reset();
  EXPECT_GE(resolver.hanging(), 1) << "going away waited for the lookup";
}

TEST(NameLookup, LeavesTheCallersSignalMaskUnchanged) {
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  NameLookup lookup("192.0.2.7");
  finish(lookup);
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGURG}) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal));
  }
}

}  // namespace
}  // namespace wee5::delivery::test
