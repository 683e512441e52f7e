#pragma once

namespace wee5::core {

// The version of the library, of the SQL objects it goes with, and of the User-Agent. One place: the build checks
// wee5_cron.control against it.
inline constexpr const char* kVersion = "0.2.0";

}  // namespace wee5::core
