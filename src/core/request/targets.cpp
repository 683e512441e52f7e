#include "wee5_cron/core/request/targets.hpp"

#include <algorithm>
#include <array>
#include <exception>

#include "wee5_cron/core/request/endpoint_path.hpp"
#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/text.hpp"

namespace wee5::core {
namespace {

// Values of headers that switch something on or off, as Vercel's x-vercel-set-bypass-cookie. No secret is one of them,
// and they stand in most answers.
constexpr std::array<std::string_view, 8> kSwitches = {"true", "false", "yes", "no", "on", "off", "1", "0"};

bool is_switch(std::string_view value) {
  return std::any_of(kSwitches.begin(), kSwitches.end(),
                     [value](std::string_view one) { return equals_ignoring_case(one, value); });
}

std::string quoted(std::string_view name) { return "\"" + printable(name, 63) + "\""; }

std::string configure_hint(std::string_view name) {
  if (name == kAppTarget) {
    return "SELECT wee5_cron.configure_target('app', NULL, NULL, headers => '{\"X-Name\": \"value\"}');";
  }
  return "SELECT wee5_cron.configure_target(" + sql_literal(valid_utf8(name)) +
         ", 'https://app.example.com', 'the secret that this app expects');";
}

[[noreturn]] void refuse(std::string_view name, const std::string& fault) {
  throw Error(ErrorKind::kInvalidValue, "target " + quoted(name) + ": " + fault, configure_hint(name));
}

void check_header_bytes(std::string_view name, std::string_view value, const char* what) {
  const bool good = std::none_of(value.begin(), value.end(), [](char c) { return is_control(c) || !is_ascii(c); });
  if (!good) refuse(name, std::string(what) + " holds a character that no HTTP header can carry");
}

// JSON of the kinds that a document of targets has. Anything else has no meaning there.
std::string json_of(const JsonValue& value) {
  if (value.kind == JsonValue::Kind::kText) return json_text(value.text);
  if (value.kind != JsonValue::Kind::kObject) return "null";
  std::string out = "{";
  for (const JsonMember& member : value.members) {
    out += (out.size() > 1 ? ", " : "") + json_text(member.name) + ": " + json_of(member.value);
  }
  return out + "}";
}

std::string json_of(std::string_view name, const Target& target) {
  std::string further;
  for (const Header& header : target.headers.further) {
    further += (further.empty() ? "" : ", ") + json_text(header.name) + ": " + json_text(header.value);
  }
  const std::string headers = "\"headers\": {" + further + "}";
  if (name == kAppTarget) return "{" + headers + "}";
  return "{\"api_url\": " + json_text(target.api_url) + ", \"secret\": " + json_text(target.secret) +
         ", \"header\": " + json_text(target.headers.header) + ", \"prefix\": " + json_text(target.headers.prefix) +
         ", " + headers + (target.previous ? ", \"previous\": " + write_previous_secret(*target.previous) : "") + "}";
}

std::optional<JsonValue> read_document(std::string_view document) {
  std::optional<JsonValue> value = parse_json(document);
  if (value && value->kind != JsonValue::Kind::kObject) value.reset();
  return value;
}

// The targets of a document that is to be changed. Blank: none.
JsonValue targets_of(std::string_view document) {
  if (without_blanks_around(document).empty()) return {};
  std::optional<JsonValue> targets = read_document(document);
  if (targets) return *std::move(targets);
  throw Error(ErrorKind::kNotReady, std::string(kTargetsSetting) + " is not a JSON object of targets",
              "Remove it where it is stored, and configure each target again.");
}

// `added`: JSON that takes the place of the target; empty: nothing does.
std::string document_without(std::string_view document, std::string_view name, const std::string& added) {
  JsonValue targets = targets_of(document);
  std::erase_if(targets.members, [name](const JsonMember& member) { return member.name == name; });
  targets.kind = JsonValue::Kind::kObject;
  if (added.empty()) return targets.members.empty() ? "" : json_of(targets);
  std::string out = json_of(targets);
  out.pop_back();
  return out + (targets.members.empty() ? "" : ", ") + json_text(name) + ": " + added + "}";
}

std::vector<Header> read_headers(std::string_view name, const JsonValue& value) {
  std::vector<Header> headers;
  const JsonValue* stored = value.find("headers");
  if (stored == nullptr) return headers;
  if (stored->kind != JsonValue::Kind::kObject) refuse(name, "\"headers\" is not a JSON object");
  for (const JsonMember& member : stored->members) {
    if (&member.value != stored->find(member.name)) continue;  // the last one of a name counts
    if (member.value.kind != JsonValue::Kind::kText) refuse(name, "the value of a header is not a string");
    headers.push_back({member.name, member.value.text});
  }
  return headers;
}

Target read_target(std::string_view name, const JsonValue& value) {
  if (value.kind != JsonValue::Kind::kObject) refuse(name, "it is not a JSON object");
  Target target;
  target.api_url = without_blanks_around(value.text_of("api_url").value_or(""));
  target.secret = without_blanks_around(value.text_of("secret").value_or(""));
  target.headers.header = value.text_of("header").value_or(target.headers.header);
  target.headers.prefix = value.text_of("prefix").value_or(target.headers.prefix);
  target.headers.further = read_headers(name, value);
  const JsonValue* previous = value.find("previous");
  if (previous != nullptr) target.previous = read_previous_secret(*previous);
  return target;
}

// Keeps every text in the JSON of one target that must not be shown.
void collect_secrets(const JsonValue& target, std::vector<std::string>& secrets) {
  const auto keep = [&secrets](std::string_view secret) {
    secret = without_blanks_around(secret);
    if (!secret.empty()) secrets.emplace_back(secret);
  };
  keep(target.text_of("secret").value_or(""));
  if (const JsonValue* previous = target.find("previous")) keep(previous->text_of("secret").value_or(""));
  const JsonValue* headers = target.find("headers");
  if (headers == nullptr) return;
  for (const JsonMember& header : headers->members)
    if (!is_switch(without_blanks_around(header.value.text))) keep(header.value.text);
}

}  // namespace

std::vector<std::string> secrets_of_request(std::string_view secret, const std::vector<Header>& further) {
  std::vector<std::string> secrets;
  if (secret = without_blanks_around(secret); !secret.empty()) secrets.emplace_back(secret);
  for (const Header& header : further) {
    const std::string_view value = without_blanks_around(header.value);
    if (!value.empty() && !is_switch(value)) secrets.emplace_back(value);
  }
  return secrets;
}

std::vector<std::string> short_secret_headers(const Target& target) {
  constexpr std::size_t kShort = 6;
  std::vector<std::string> names;
  for (const Header& header : target.headers.further) {
    const std::string_view value = without_blanks_around(header.value);
    if (!value.empty() && value.size() < kShort && !is_switch(value)) names.push_back(printable(header.name));
  }
  return names;
}

void check_target_name(std::string_view name) {
  if (is_target_name(name)) return;
  throw Error(ErrorKind::kInvalidValue, "invalid target name " + quoted(name),
              "A target's name begins with a letter and holds letters, digits, \"_\" and \"-\", at most 63. It is not "
              "http or https.");
}

void check_target(std::string_view name, const Target& target) {
  if (name != kAppTarget) {
    if (target.api_url.empty()) refuse(name, "api_url is blank");
    if (target.secret.empty()) refuse(name, "the secret is blank");
  }
  check_header_bytes(name, target.secret, "the secret");
  check_header_bytes(name, target.headers.prefix, "the prefix");
  check_secret_header(target.headers.header, "");
  const std::vector<Header>& further = target.headers.further;
  for (std::size_t i = 0; i < further.size(); ++i) {
    check_secret_header(further[i].name, further[i].value);
    const auto is_same = [&](const Header& other) { return equals_ignoring_case(other.name, further[i].name); };
    const bool is_header_of_secret = equals_ignoring_case(further[i].name, target.headers.header);
    if (is_header_of_secret || std::any_of(further.begin(), further.begin() + static_cast<std::ptrdiff_t>(i), is_same))
      refuse(name, "header \"" + printable(further[i].name) + "\" is given twice");
  }
}

std::string document_with_target(std::string_view document, std::string_view name, const Target& target) {
  return document_without(document, name, json_of(name, target));
}

std::string document_without_target(std::string_view document, std::string_view name) {
  return document_without(document, name, "");
}

Targets::Targets(const SettingCandidates& documents)
    : vault_trouble_(documents.vault_trouble), vault_hint_(documents.vault_hint) {
  constexpr std::array<SettingSource, 6> kStrongestFirst = {SettingSource::kSession, SettingSource::kRoleInDatabase,
                                                            SettingSource::kRole,    SettingSource::kDatabase,
                                                            SettingSource::kAll,     SettingSource::kVault};
  for (const SettingSource source : kStrongestFirst) {
    const std::string document = value_at(documents, source);
    if (!document.empty()) documents_.push_back({source, read_document(document)});
  }
}

std::optional<std::pair<Target, SettingSource>> Targets::find(std::string_view name) const {
  for (const Document& document : documents_) {
    if (!document.targets) {
      throw Error(ErrorKind::kNotReady,
                  std::string(kTargetsSetting) + " (" + setting_source_name(document.source) +
                      ") is not a JSON object of targets",
                  "Remove it there, and configure each target again.");
    }
    const JsonValue* found = document.targets->find(name);
    if (found == nullptr) continue;
    try {
      check_target_name(name);
      Target target = read_target(name, *found);
      check_target(name, target);
      return std::make_pair(std::move(target), document.source);
    } catch (const Error& error) {
      throw Error(ErrorKind::kNotReady, error.message(), error.hint());
    }
  }
  return std::nullopt;
}

Error Targets::missing(std::string_view name) const {
  const std::string message = "target " + quoted(name) + " is not configured";
  if (vault_trouble_.empty()) return Error(ErrorKind::kNotReady, message, configure_hint(name));
  return Error(ErrorKind::kNotReady, message + ", and Vault cannot be read: " + vault_trouble_, vault_hint_);
}

std::vector<Header> Targets::headers_of_app() const noexcept {
  if (documents_.empty()) return {};
  try {
    auto found = find(kAppTarget);
    return found ? std::move(found->first.headers.further) : std::vector<Header>();
  } catch (const std::exception&) {
    return {};
  }
}

std::vector<std::string> Targets::names() const {
  std::vector<std::string> names;
  for (const Document& document : documents_) {
    if (!document.targets) continue;
    for (const JsonMember& member : document.targets->members) {
      if (std::find(names.begin(), names.end(), member.name) == names.end()) names.push_back(member.name);
    }
  }
  return names;
}

std::vector<SettingSource> Targets::unreadable() const {
  std::vector<SettingSource> sources;
  for (const Document& document : documents_) {
    if (!document.targets) sources.push_back(document.source);
  }
  return sources;
}

std::vector<std::string> Targets::secrets() const {
  std::vector<std::string> secrets;
  for (const Document& document : documents_) {
    if (!document.targets) continue;
    for (const JsonMember& member : document.targets->members) collect_secrets(member.value, secrets);
  }
  return secrets;
}

}  // namespace wee5::core
