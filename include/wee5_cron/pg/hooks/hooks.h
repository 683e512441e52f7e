#pragma once

namespace wee5::pg {

// The server's hooks, installed once from _PG_init(): for utility commands that concern the workers (only with
// preload), and for the creation and the drop of extensions.
void install_utility_hook();
void install_object_access_hook();

}  // namespace wee5::pg
