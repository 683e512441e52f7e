#pragma once

namespace wee5::pg {

// Registers the launcher with the postmaster. Call it during the preload.
void register_launcher();

}  // namespace wee5::pg
