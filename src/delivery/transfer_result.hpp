#pragma once

#include <curl/curl.h>

#include <string>

#include "transfer.hpp"
#include "wee5_cron/core/outcome.hpp"

namespace wee5::delivery {

// Why a transfer ended, as far as it is the transport's to say: kNone where an answer came.
struct Ending {
  core::Reason reason = core::Reason::kNone;
  std::string detail;
};

// What libcurl's verdict means. `connect`, `dns`, `tls` only where no byte of the request left.
Ending ending_of(CURLcode code, const Transfer& transfer);
// The transfer's deadline has passed: how far it got says what did not come in time.
Ending ending_at_deadline(const Transfer& transfer);

// Takes the request's texts out of the transfer.
Result make_result(Transfer& transfer, Ending ending);

// For a request that could not even begin.
Result make_unsent_result(Request& request, Ending ending);

}  // namespace wee5::delivery
