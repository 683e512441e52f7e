#pragma once

namespace wee5::pg {

// Hooks of the server, installed once from _PG_init: utility commands that concern the workers (preload only), and
// the drop of our extension.
void install_utility_hook();
void install_object_access_hook();

}  // namespace wee5::pg
