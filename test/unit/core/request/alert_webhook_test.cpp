#include "wee5_cron/core/request/alert_webhook.hpp"

#include <gtest/gtest.h>

namespace wee5::core {
namespace {

TEST(AlertWebhook, IsRecognizedByItsHost) {
  for (const char* host :
       {"discord.com", "DISCORD.com.", "canary.discord.com", "discordapp.com", "ptb.discordapp.com"}) {
    EXPECT_EQ(alert_webhook_of(host), AlertWebhook::kDiscord) << host;
  }
  for (const char* host :
       {"", "hooks.slack.com", "notdiscord.com", "discord.com.evil.example", "discord.example", "com"}) {
    EXPECT_EQ(alert_webhook_of(host), AlertWebhook::kPlain) << host;
  }
}

}  // namespace
}  // namespace wee5::core
