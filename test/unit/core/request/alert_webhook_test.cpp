#include "wee5_cron/core/request/alert_webhook.hpp"

#include <gtest/gtest.h>

namespace wee5::core {
namespace {

TEST(AlertWebhook, IsRecognizedByItsHost) {
  for (const char* host :
       {"discord.com", "DISCORD.com.", "canary.discord.com", "discordapp.com", "ptb.discordapp.com"}) {
    EXPECT_EQ(alert_webhook_of(host), AlertWebhook::kDiscord) << host;
  }
  for (const char* host : {"hooks.slack.com", "HOOKS.slack.com.", "hooks.slack-gov.com"})
    EXPECT_EQ(alert_webhook_of(host), AlertWebhook::kSlack) << host;
  for (const char* host : {"prod-12.westeurope.logic.azure.com", "default1234.5a.environment.api.powerplatform.com",
                           "acme.webhook.office.com"})
    EXPECT_EQ(alert_webhook_of(host), AlertWebhook::kTeams) << host;
  for (const char* host : {"", "slack.com.evil.example", "notslack.com", "azure.com", "logic.azure.com.example",
                           "notdiscord.com", "discord.com.evil.example", "discord.example", "com"}) {
    EXPECT_EQ(alert_webhook_of(host), AlertWebhook::kPlain) << host;
  }
}

TEST(AlertWebhook, EachHasAName) {
  EXPECT_STREQ(alert_webhook_name(AlertWebhook::kPlain), "plain");
  EXPECT_STREQ(alert_webhook_name(AlertWebhook::kDiscord), "discord");
  EXPECT_STREQ(alert_webhook_name(AlertWebhook::kSlack), "slack");
  EXPECT_STREQ(alert_webhook_name(AlertWebhook::kTeams), "teams");
}

}  // namespace
}  // namespace wee5::core
