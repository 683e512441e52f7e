// Reacts to the creation and the drop of extensions and tables in this database: ours and pg_cron's.

#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/hooks/hooks.h"
#include "wee5_cron/pg/jobs/job_removal.h"
#include "wee5_cron/pg/registry/wake.h"

namespace wee5::pg {

namespace {

object_access_hook_type next_hook = nullptr;

bool is_job_table(Oid relation, const char* schema, const char* extension_name) {
  // The names first: this runs for every table that somebody drops.
  char* name = get_rel_name(relation);
  if (name == nullptr || strcmp(name, "job") != 0) return false;
  char* found = get_namespace_name(get_rel_namespace(relation));
  if (found == nullptr || strcmp(found, schema) != 0) return false;
  ExtensionInfo extension;
  find_extension(extension_name, &extension);
  return belongs_to_extension(RelationRelationId, relation, extension.oid);
}

void object_access(ObjectAccessType access, Oid catalog, Oid object, int sub_id, void* arg) {
  if (next_hook != nullptr) next_hook(access, catalog, object, sub_id, arg);
  if (catalog == ExtensionRelationId && (access == OAT_POST_CREATE || access == OAT_POST_ALTER || access == OAT_DROP)) {
    wake_worker_at_commit();
    // It may be pg_cron.
    note_jobs_changed();
  }
  // When the extension's own OAT_DROP comes, its tables are gone already. So act on the drop of its table.
  if (access != OAT_DROP || catalog != RelationRelationId || sub_id != 0) return;
  if (is_job_table(object, "wee5_cron", "wee5_cron")) remove_our_cron_jobs(object);
  if (is_job_table(object, "cron", "pg_cron")) forget_cron_jobids();
}

}  // namespace

void install_object_access_hook() {
  next_hook = object_access_hook;
  object_access_hook = object_access;
}

}  // namespace wee5::pg
