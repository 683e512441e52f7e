# ALTER EXTENSION wee5_cron UPDATE with users' objects on the tables, with a rollback, with an owner who is not a superuser,
# and after a restore of a dump of 0.1.0.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver  = Wee5Cron::Receiver->start(secret => 'the secret');
my $tmp       = PostgreSQL::Test::Utils::tempdir();
my $node      = Wee5Cron::Node->start_new('main');
my $catalogue = slurp_file("$FindBin::RealBin/../support/catalogue.sql");
my $version   = "SELECT extversion FROM pg_extension WHERE extname = 'wee5_cron'";
my $newest    = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'wee5_cron'");
$node->safe_psql('postgres', 'CREATE ROLE caller LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE operator LOGIN; CREATE ROLE somebody LOGIN; CREATE ROLE boss LOGIN SUPERUSER');

sub calls {
    my ($database, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is($node->finished($database, $node->call($database, '/status/200'))->{status}, 'succeeded', $name);
}
sub with_0_1_0 {
    my ($database) = @_;
    return $node->install($database, version => '0.1.0', api_url => $receiver->url, secret => 'the secret', pg_cron => 0);
}

# After a rollback, nothing has changed.
with_0_1_0('mine');
calls('mine', 'a call with the SQL of 0.1.0');
my $before = $node->safe_psql('mine', $catalogue);
is($node->error_of('mine', 'BEGIN; ALTER EXTENSION wee5_cron UPDATE; ROLLBACK'), undef, 'an update can be rolled back');
is($node->safe_psql('mine', $version), '0.1.0', '... and the version is unchanged');
ok($node->safe_psql('mine', $catalogue) eq $before, '... and so is the catalogue');
calls('mine', 'after an update that was rolled back a call succeeds');

# What users built on the tables.
$node->safe_psql('mine', <<'SQL');
CREATE VIEW ledger AS SELECT * FROM wee5_cron.invocation;
CREATE VIEW jobs AS SELECT * FROM wee5_cron.job_status;
CREATE VIEW workers AS SELECT * FROM wee5_cron.worker;
CREATE INDEX by_url ON wee5_cron.invocation (url);
CREATE TABLE ended (id bigint);
CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.ended VALUES (new.id); RETURN NULL; END $$;
CREATE TRIGGER note_end AFTER UPDATE ON wee5_cron.invocation FOR EACH ROW WHEN (old.finished_at IS NULL AND new.finished_at IS NOT NULL) EXECUTE FUNCTION note_end();
GRANT SELECT (id, status) ON wee5_cron.invocation TO somebody;
GRANT EXECUTE ON FUNCTION wee5_cron.arm() TO PUBLIC;
GRANT USAGE ON SCHEMA wee5_cron TO somebody;
CREATE FUNCTION restart_calls() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT wee5_cron.arm(); END;
SQL
fields_are($node->error_of('mine', 'ALTER EXTENSION wee5_cron UPDATE'), { sqlstate => '2BP01', detail => qr/function restart_calls\(\) depends on function wee5_cron\.arm\(\)/ }, "an update names a user's function that depends on one that it replaces");
is($node->safe_psql('mine', $version), '0.1.0', '... and changes nothing');
calls('mine', 'after an update that failed a call succeeds');
$node->safe_psql('mine', 'DROP FUNCTION restart_calls()');
is($node->error_of('mine', 'ALTER EXTENSION wee5_cron UPDATE'), undef, "an update succeeds with users' views, index, trigger and grants on the tables");
my $id = $node->call('mine', '/status/200?after');
is($node->finished('mine', $id)->{status}, 'succeeded', '... and a call succeeds');
is($node->safe_psql('mine', "SELECT status FROM ledger WHERE id = $id"), 'succeeded', "... and the user's view shows it");
is($node->safe_psql('mine', "SELECT count(*) FROM ended WHERE id = $id"), 1, "... and the user's trigger fires");
is($node->safe_psql('mine', 'SELECT count(*) >= 0 FROM jobs, workers'), 't', '... and views over our views work');
is($node->safe_psql('mine', "SELECT indisvalid FROM pg_index WHERE indexrelid = 'wee5_cron.by_url'::regclass"), 't', "... and the user's index is valid");
is($node->psql_as('somebody', 'mine', "SELECT status FROM wee5_cron.invocation WHERE id = $id"), 'succeeded', '... and a grant on columns still applies');
is($node->error_of('mine', 'SELECT wee5_cron.arm()', role => 'somebody'), undef, '... and so does a grant to PUBLIC on a function that was replaced');
fields_are($node->error_of('mine', 'SELECT wee5_cron.disarm()', role => 'somebody'), { sqlstate => '42501' }, '... but there is no such grant on another function');

# The owner is no longer a superuser.
$node->safe_psql('postgres', 'CREATE DATABASE owned');
$node->configure('owned', api_url => $receiver->url, secret => 'the secret');
$node->psql_as('boss', 'owned', "CREATE EXTENSION wee5_cron VERSION '0.1.0'");
$node->safe_psql('owned', 'ALTER ROLE boss NOSUPERUSER');
calls('owned', 'with an owner who is not a superuser a call succeeds');
fields_are($node->error_of('owned', 'ALTER EXTENSION wee5_cron UPDATE', role => 'boss'), { sqlstate => '42501', hint => qr/superuser/ }, 'that owner may not update the extension');
is($node->error_of('owned', 'ALTER EXTENSION wee5_cron UPDATE'), undef, '... but a superuser may');
is($node->safe_psql('owned', <<'SQL'), '0', '... and everything still belongs to the owner');
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'wee5_cron'::regnamespace AND relowner <> 'boss'::regrole)
     + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'wee5_cron'::regnamespace AND proowner <> 'boss'::regrole)
     + (SELECT count(*) FROM pg_type WHERE typnamespace = 'wee5_cron'::regnamespace AND typowner <> 'boss'::regrole)
SQL
calls('owned', '... and a call succeeds');

# A dump of 0.1.0 with a large ledger, and roles with each profile.
with_0_1_0('original');
$node->safe_psql('original', <<'SQL');
SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('reader', 'read'), wee5_cron.grant_to('operator', 'operate');
REVOKE EXECUTE ON FUNCTION wee5_cron.prune() FROM operator;
INSERT INTO wee5_cron.endpoint (endpoint_path, method, note) VALUES ('/policy', 'POST', 'kept');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, finished_at)
SELECT '/path/' || i % 100, 'builtin', CASE WHEN i % 4 = 0 THEN 'failed' ELSE 'succeeded' END, CASE WHEN i % 4 = 0 THEN 'http' END, now()
FROM generate_series(1, 200000) i;
INSERT INTO wee5_cron.attempt (invocation_id, attempt, finished_at, http_status) SELECT id, 1, now(), 200 FROM wee5_cron.invocation;
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, next_attempt_at) VALUES ('/open', 'builtin', 'retrying', now() + interval '1 day');
SQL
my $rows = q{SELECT count(*), sum(id), count(*) FILTER (WHERE finished_at IS NULL), (SELECT count(*) FROM wee5_cron.attempt), (SELECT string_agg(e::text, '') FROM (SELECT endpoint_path, method, note FROM wee5_cron.endpoint) e),
    (SELECT last_value >= 200000 FROM wee5_cron.invocation_id_seq) FROM wee5_cron.invocation WHERE endpoint_path ~ '^/(path|open)'};
my $kept = $node->safe_psql('original', $rows);
command_ok([ qw(pg_dump -Fp -f), "$tmp/dump.sql", $node->connstr('original') ], 'pg_dump of 0.1.0 succeeds');

sub has_profiles {
    my ($database, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is($node->safe_psql($database, q{
        SELECT has_function_privilege('caller', 'invoke_cron_endpoint(text)', 'EXECUTE'), has_table_privilege('caller', 'wee5_cron.invocation', 'SELECT'),
               has_table_privilege('reader', 'wee5_cron.invocation', 'SELECT'), has_function_privilege('reader', 'wee5_cron.disarm(text)', 'EXECUTE'),
               has_function_privilege('operator', 'wee5_cron.arm(boolean)', 'EXECUTE'), has_function_privilege('operator', 'wee5_cron.disarm(text)', 'EXECUTE'),
               has_function_privilege('operator', 'wee5_cron.prune()', 'EXECUTE')}), 't|f|t|f|t|t|f', $name);
}

# Restored in the version of the dump, and then updated.
my $dump = slurp_file("$tmp/dump.sql");
my $changed = () = $dump =~ s/^(CREATE EXTENSION .*wee5_cron WITH SCHEMA [^;]+);/$1 VERSION '0.1.0';/m;
PostgreSQL::Test::Utils::append_to_file("$tmp/dump_0.1.0.sql", $dump);
$node->safe_psql('postgres', 'CREATE DATABASE as_before; CREATE DATABASE as_now');
command_ok([ qw(psql -X -q -v ON_ERROR_STOP=1 -f), "$tmp/dump_0.1.0.sql", '-d', $node->connstr('as_before') ], 'the dump can be restored into 0.1.0');
is($node->safe_psql('as_before', "$version; SELECT wee5_cron.is_armed()"), "0.1.0\nf", '... and the copy is disarmed');
my $began = time;
is($node->error_of('as_before', 'ALTER EXTENSION wee5_cron UPDATE'), undef, '... and can be updated');
note('with 200,000 calls: ' . (time - $began) . ' s');
is($node->safe_psql('as_before', $rows), $kept, '... and has all rows');
has_profiles('as_before', '... and roles have what their profiles grant now, except for what was revoked');
is($node->safe_psql('as_before', 'SELECT wee5_cron.is_armed()'), 'f', '... and is still disarmed');

# Restored in the installed version: a grant on a function that no longer exists is an error, and grant_to() grants it
# again.
my ($status, undef, $stderr) = $node->psql('as_now', slurp_file("$tmp/dump.sql"), on_error_stop => 0);
my @errors = $stderr =~ /ERROR:  .*/g;
is(scalar(grep { !/function wee5_cron\.\w+\(.*\) does not exist/ } @errors), 0, 'the dump restored into this version has no errors except grants on dropped functions') or diag(@errors);
is($node->safe_psql('as_now', $version), $newest, 'a dump of 0.1.0 restored into this version has the newest version');
is($node->safe_psql('as_now', $rows), $kept, '... and all rows');
$node->safe_psql('as_now', "SELECT wee5_cron.grant_to('operator', 'operate'); REVOKE EXECUTE ON FUNCTION wee5_cron.prune() FROM operator");
has_profiles('as_now', '... and grant_to() grants the profile of this version');
is($node->safe_psql('as_now', 'SELECT wee5_cron.is_armed()'), 'f', '... and is disarmed');
$node->safe_psql('as_now', 'SELECT wee5_cron.arm()');
$node->configure('as_now', api_url => $receiver->url, secret => 'the secret');
calls('as_now', '... and a call succeeds once it is armed');

$node->log_is_sane;
done_testing();
