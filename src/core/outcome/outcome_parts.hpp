#pragma once

#include <string>
#include <string_view>

#include "wee5_cron/core/outcome/outcome.hpp"
#include "wee5_cron/core/request/address_words.hpp"

// The parts of outcome.cpp: error and hint for an answer, and for a redirect.
namespace wee5::core {

struct Advice {
  std::string error;
  std::string hint;
};

// "500 Internal Server Error"; the number alone where no phrase is known.
std::string status_text(int http_status);

// The caller's path as a sentence shows it.
std::string shown_path(const Observation& observation);

// How hints speak of the address that the path belongs to.
AddressWords words_of(const Observation& observation);

// "host:port" as the URL has it.
std::string_view authority_of(std::string_view url);
std::string_view host_of(std::string_view authority);

Advice explain_status(const Observation& observation);
Advice explain_redirect(const Observation& observation);
Advice explain_incomplete(const Observation& observation);

}  // namespace wee5::core
