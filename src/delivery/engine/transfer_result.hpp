#pragma once

#include <curl/curl.h>

#include <string>

#include "transfer.hpp"
#include "wee5_cron/core/outcome/outcome.hpp"

namespace wee5::delivery {

// Why a transfer ended; kNone if an answer came.
struct Ending {
  core::Reason reason = core::Reason::kNone;
  std::string detail;
};

// Interprets libcurl's result. The reason is `connect`, `dns` or `tls` only if no byte of the request left.
Ending ending_of(CURLcode code, const Transfer& transfer);
// The ending of a transfer whose deadline has passed, by how far it got.
Ending ending_at_deadline(const Transfer& transfer);

// Makes the result of a transfer. Moves the request's texts out of it.
Result make_result(Transfer& transfer, Ending ending);

// Makes the result of a request that could not begin.
Result make_unsent_result(Request& request, Ending ending);

}  // namespace wee5::delivery
