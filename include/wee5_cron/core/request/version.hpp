#pragma once

namespace wee5::core {

// The version of the library, of its SQL objects, and of the User-Agent. It must be the one of wee5_cron.control.
inline constexpr const char* kVersion = "0.2.0";

}  // namespace wee5::core
