#include "wee5_cron/core/request/alert_receiver.hpp"

#include <gtest/gtest.h>

namespace wee5::core {
namespace {

TEST(AlertReceiver, IsRecognizedByItsHost) {
  for (const char* host :
       {"discord.com", "DISCORD.com.", "canary.discord.com", "discordapp.com", "ptb.discordapp.com"}) {
    EXPECT_EQ(alert_receiver_of(host), AlertReceiver::kDiscord) << host;
  }
  for (const char* host : {"hooks.slack.com", "HOOKS.slack.com.", "hooks.slack-gov.com"})
    EXPECT_EQ(alert_receiver_of(host), AlertReceiver::kSlack) << host;
  for (const char* host : {"prod-12.westeurope.logic.azure.com", "default1234.5a.environment.api.powerplatform.com",
                           "acme.webhook.office.com"})
    EXPECT_EQ(alert_receiver_of(host), AlertReceiver::kTeams) << host;
  for (const char* host : {"", "slack.com.evil.example", "notslack.com", "azure.com", "logic.azure.com.example",
                           "notdiscord.com", "discord.com.evil.example", "discord.example", "com"}) {
    EXPECT_EQ(alert_receiver_of(host), AlertReceiver::kPlain) << host;
  }
}

TEST(AlertReceiver, EachHasAName) {
  EXPECT_STREQ(alert_receiver_name(AlertReceiver::kPlain), "plain");
  EXPECT_STREQ(alert_receiver_name(AlertReceiver::kDiscord), "discord");
  EXPECT_STREQ(alert_receiver_name(AlertReceiver::kSlack), "slack");
  EXPECT_STREQ(alert_receiver_name(AlertReceiver::kTeams), "teams");
}

}  // namespace
}  // namespace wee5::core
