#pragma once

namespace wee5::pg {

// Registers the launcher with the postmaster; during the preload.
void register_launcher();

}  // namespace wee5::pg
