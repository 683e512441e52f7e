#include "wee5_cron/core/request/alert_receiver.hpp"

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

AlertReceiver alert_receiver_of(std::string_view host) noexcept {
  if (is_at(host, "discord.com") || is_at(host, "discordapp.com")) return AlertReceiver::kDiscord;
  if (is_at(host, "slack.com") || is_at(host, "slack-gov.com")) return AlertReceiver::kSlack;
  // Teams workflows have addresses of Logic Apps or, since 2025, of Power Platform. The last is that of Office 365
  // connectors, which came before them.
  for (const char* domain : {"logic.azure.com", "api.powerplatform.com", "webhook.office.com"})
    if (is_at(host, domain)) return AlertReceiver::kTeams;
  return AlertReceiver::kPlain;
}

const char* alert_receiver_name(AlertReceiver receiver) noexcept {
  switch (receiver) {
    case AlertReceiver::kDiscord:
      return "discord";
    case AlertReceiver::kSlack:
      return "slack";
    case AlertReceiver::kTeams:
      return "teams";
    case AlertReceiver::kPlain:
      break;
  }
  return "plain";
}

}  // namespace wee5::core
