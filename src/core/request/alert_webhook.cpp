#include "wee5_cron/core/request/alert_webhook.hpp"

#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {
namespace {

bool is_at(std::string_view host, std::string_view domain) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.size() < domain.size()) return false;
  const std::size_t begin = host.size() - domain.size();
  return equals_ignoring_case(host.substr(begin), domain) && (begin == 0 || host[begin - 1] == '.');
}

}  // namespace

AlertWebhook alert_webhook_of(std::string_view host) noexcept {
  if (is_at(host, "discord.com") || is_at(host, "discordapp.com")) return AlertWebhook::kDiscord;
  if (is_at(host, "slack.com") || is_at(host, "slack-gov.com")) return AlertWebhook::kSlack;
  // Teams workflows have addresses of Logic Apps or, since 2025, of Power Platform. The last is that of Office 365
  // connectors, which came before them.
  for (const char* domain : {"logic.azure.com", "api.powerplatform.com", "webhook.office.com"})
    if (is_at(host, domain)) return AlertWebhook::kTeams;
  return AlertWebhook::kPlain;
}

const char* alert_webhook_name(AlertWebhook webhook) noexcept {
  switch (webhook) {
    case AlertWebhook::kDiscord:
      return "discord";
    case AlertWebhook::kSlack:
      return "slack";
    case AlertWebhook::kTeams:
      return "teams";
    case AlertWebhook::kPlain:
      break;
  }
  return "plain";
}

}  // namespace wee5::core
