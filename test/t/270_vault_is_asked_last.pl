# Supabase Vault as the source of address and secret, against a stand-in with its table, view and functions. It is read only
# if no other source has a value, changes apply at once, another object of that name is never used, and errors say what
# Vault refuses.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => ['supabase_vault', 'pg_net'];

my ($one, $two) = map { Wee5Cron::Receiver->start(secret => "canary-of-vault-$_-0815") } 1 .. 2;
my %secret = ($one => 'canary-of-vault-1-0815', $two => 'canary-of-vault-2-0815');
my $node = Wee5Cron::Node->new_configured('main', preload => 'pg_stat_statements,auto_explain,pg_cron,wee5_cron', conf => <<'CONF');
pg_stat_statements.track = all
log_min_messages = debug1
CONF
$node->start;
$node->install('postgres');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');

# configure() stores the values in Vault, and says so.
sub configure_vault {
    my ($receiver, $path) = @_;
    my ($status, $stdout, $stderr) = $node->psql('postgres',
        sprintf("SELECT wee5_cron.configure('%s', '%s', store => 'vault')", $receiver->url . ($path // ''), $secret{$receiver}),
        extra_params => [ '-v', 'VERBOSITY=verbose' ]);
    return $stdout . $stderr =~ s/^LOCATION:.*\n//mgr =~ s/^psql:\S+ //mgr;
}

# Stored in Vault directly.
sub vault {
    my ($name, $value) = @_;
    return $node->safe_psql('postgres', "SELECT vault.update_secret(id, '$value') FROM vault.secrets WHERE name = '$name'");
}

sub source_of {
    my ($setting) = @_;
    return $node->one_row('postgres', "SELECT * FROM wee5_cron.setting_sources() WHERE name = 'app.settings.$setting'");
}

sub bearer_of {
    my ($receiver, $path) = @_;
    my @requests = $receiver->requests($path);
    return join ' ', map { $_->{bearer} } @requests;
}

# A view of that name that somebody else created is not used: it would run as the owner of wee5_cron.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE mallory LOGIN;
CREATE SCHEMA vault AUTHORIZATION mallory;
SET ROLE mallory;
CREATE TABLE vault.seen (who text);
CREATE FUNCTION vault.trap() RETURNS text LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO vault.seen VALUES (current_user); RETURN 'http://127.0.0.1:1'; END$$;
CREATE TABLE vault.secrets (id uuid, name text);
CREATE VIEW vault.decrypted_secrets AS SELECT name, vault.trap() AS decrypted_secret FROM unnest(array['api_url', 'cron_secret']) name;
CREATE FUNCTION vault.create_secret(new_secret text, new_name text, new_description text) RETURNS uuid LANGUAGE sql AS
  $$INSERT INTO vault.seen VALUES (new_secret) RETURNING NULL::uuid$$;
SQL
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', "a stranger's vault is no source", message => qr/^app\.settings\.api_url is not set$/);
like(configure_vault($one), qr/55000: the extension supabase_vault is not installed.*CREATE EXTENSION supabase_vault/s, '... and no store');
is(source_of('api_url')->{source}, 'none', '... nor for setting_sources()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vault.seen'), 0, '... and none of its code has run');
$node->safe_psql('postgres', 'DROP SCHEMA vault CASCADE');

# Stored and read.
$node->safe_psql('postgres', "CREATE EXTENSION supabase_vault VERSION 'wee5fixture'");
my $session = $node->background_psql('postgres');
is(configure_vault($one) =~ s/\s+//r, '', "configure() with store => 'vault' says nothing back");
my $ids = $node->safe_psql('postgres', 'SELECT name, id FROM vault.secrets ORDER BY name');
is(join(' ', $ids =~ /^(\w+)\|/mg), 'api_url cron_secret', 'both are in Vault');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_db_role_setting, unnest(setconfig) entry WHERE entry LIKE 'app.%'"), 0, '... and nowhere else');
my $id = $session->query_safe("SELECT invoke_cron_endpoint('/first')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', transport => 'builtin', url => $one->url . '/first' }, 'a call has its address from there');
is(bearer_of($one, '/first'), 'match', '... and its secret');
fields_are(source_of('cron_secret'), { source => 'vault', is_set => 1, length => length $secret{$one}, value => undef }, 'setting_sources() says so');

# A second run updates the values; open sessions and queued calls follow.
$node->block_the_wire('postgres', $one);
my $queued = $session->query_safe("SELECT invoke_cron_endpoint('/queued')");
configure_vault($two, '/base');
is($node->safe_psql('postgres', 'SELECT name, id FROM vault.secrets ORDER BY name'), $ids, 'a second run updates the same two secrets');
my $after = $session->query_safe("SELECT invoke_cron_endpoint('/after')");
$one->release;
fields_are($node->finished('postgres', $queued), { status => 'succeeded', url => $two->url . '/base/queued' }, 'a queued call follows a change in Vault');
is(bearer_of($two, '/base/queued'), 'match', '... of the secret too');
is($node->finished('postgres', $after)->{url}, $two->url . '/base/after', 'an open session as well');
$node->set_server('wee5_cron.max_in_flight', 256);

# All other sources take precedence.
my @stronger = ('ALTER ROLE ALL', 'ALTER DATABASE postgres', 'ALTER ROLE web', 'ALTER ROLE web IN DATABASE postgres');
$node->safe_psql('postgres', "CREATE ROLE web LOGIN; SELECT wee5_cron.grant_to('web', 'call')");
for my $alter (@stronger) {
    $node->safe_psql('postgres', sprintf "%s SET app.settings.api_url = '%s'; %1\$s SET app.settings.cron_secret = '%s'", $alter, $one->url . '/strong', $secret{$one});
    $id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/call')");
    fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $one->url . '/strong/call' }, "$alter counts before Vault");
    my $said = configure_vault($two, '/base');
    like($said, qr/WARNING.*app\.settings\.cron_secret \(\Q$alter\E\)/s, '... which configure() warns of');
    my ($reset) = $said =~ /^HINT:\s+(ALTER .*)$/m;
    $node->safe_psql('postgres', $reset);
    is(configure_vault($two, '/base') =~ s/\s+//r, '', '... until its hint was pasted');
}
# One of the two stored, the other from Vault; blanks are unset.
$node->safe_psql('postgres', sprintf "ALTER DATABASE postgres SET app.settings.api_url = '%s'; ALTER ROLE web SET app.settings.cron_secret = '  '", $two->url . '/mixed');
$id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/call')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $two->url . '/mixed/call' }, 'an address that is stored and a secret from Vault');
is(bearer_of($two, '/mixed/call'), 'match', '... are put together');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url; ALTER ROLE web RESET ALL');
vault('cron_secret', "  ");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'a blank secret in Vault is no secret', message => qr/cron_secret is not set$/, hint => qr/configure/);
$id = $node->safe_psql('postgres', "SET wee5_cron.missing_config = 'skip'; SELECT invoke_cron_endpoint('/skip')");
fields_are($node->invocation('postgres', $id), { status => 'skipped', reason => 'config', error => qr/cron_secret is not set/ }, "... with missing_config = 'skip' a row");
vault('cron_secret', "bad\x01secret");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'what no header can carry is refused from Vault as well', message => qr/control character/);
configure_vault($one);

# The names are settings that a caller cannot choose.
$node->raises('postgres', "SET wee5_cron.vault_cron_secret = 'other'", '42501', 'a caller does not choose the name', role => 'web');
$node->safe_psql('postgres', sprintf q{SELECT vault.create_secret('%s', 'app two'), vault.create_secret('%s', 'secret two')}, $two->url . '/named', $secret{$two});
$node->block_the_wire('postgres', $one);
$queued = $session->query_safe("SELECT invoke_cron_endpoint('/queued')");
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.vault_api_url = 'app two'; ALTER DATABASE postgres SET wee5_cron.vault_cron_secret = 'secret two'");
$after = $session->query_safe("SELECT invoke_cron_endpoint('/after')");
$one->release;
$node->finished('postgres', $_) for $queued, $after;
is(bearer_of($two, $_), 'match', "$_: other names apply at once, to what is queued and in open sessions") for '/named/queued', '/named/after';
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET wee5_cron.vault_api_url; ALTER DATABASE postgres RESET wee5_cron.vault_cron_secret');
is($node->finished('postgres', $session->query_safe("SELECT invoke_cron_endpoint('/back')"))->{url}, $one->url . '/back', '... and so does their RESET');
$session->quit;
$node->set_server('wee5_cron.max_in_flight', 256);

# What Vault cannot say. A broken secret: calls that need it fail with the reason, others go on.
$node->safe_psql('postgres', sprintf "ALTER ROLE web SET app.settings.api_url = '%s'; ALTER ROLE web SET app.settings.cron_secret = '%s'", $one->url, $secret{$one});
$node->block_the_wire('postgres', $one);
my @waiting = map { $node->call('postgres', "/unreadable/$_") } 1 .. 2;
my $independent = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/independent')");
$node->safe_psql('postgres', q{CREATE TABLE kept AS SELECT id, secret FROM vault.secrets; UPDATE vault.secrets SET secret = encode('broken', 'base64') WHERE name = 'cron_secret'});
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'a secret that cannot be decrypted',
    message => qr/^app\.settings\.api_url is not set, and Vault cannot be read: invalid ciphertext/, hint => qr/configure/);
like(source_of('cron_secret')->{error}, qr/invalid ciphertext/, '... is told by setting_sources()');
$one->release;
fields_are($node->finished('postgres', $_), { status => 'failed', reason => 'config', http_status => undef, error => qr/Vault cannot be read: invalid ciphertext/, hint => qr/configure/ },
    'a queued call that needs it fails with reason config') for @waiting;
fields_are($node->finished('postgres', $independent), { status => 'succeeded' }, '... and one that does not need it goes on');
$node->safe_psql('postgres', 'UPDATE vault.secrets s SET secret = k.secret FROM kept k WHERE k.id = s.id; ALTER ROLE web RESET ALL');
$node->set_server('wee5_cron.max_in_flight', 256);

# Vault is locked for a while: no call fails because of it.
my $locker = $node->background_psql('postgres');
$node->block_the_wire('postgres', $one);
$queued = $node->call('postgres', '/while-locked');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE vault.secrets');
# From here on the worker's copy may be out of date: it has to look again.
$node->safe_psql('postgres', 'CREATE TABLE somebody_wrote_something ()');
$one->release;
$node->poll_query_until('postgres', "SELECT state = 'blocked' AND last_error LIKE '%lock timeout%' FROM wee5_cron.worker") or die 'the worker is not blocked';
fields_are($node->invocation('postgres', $queued), { finished_at => undef }, 'while Vault is locked, a call waits');
$locker->query_safe('COMMIT');
fields_are($node->finished('postgres', $queued), { status => 'succeeded' }, '... and is made afterwards');
$locker->quit;
$node->set_server('wee5_cron.max_in_flight', 256);

# An owner of wee5_cron without access to Vault.
$node->safe_psql('postgres', 'CREATE ROLE keeper; ALTER FUNCTION invoke_cron_endpoint(text) OWNER TO keeper; ALTER FUNCTION wee5_cron.configure(text, text, text, boolean) OWNER TO keeper;'
      . 'GRANT USAGE ON SCHEMA wee5_cron TO keeper; GRANT ALL ON ALL TABLES IN SCHEMA wee5_cron TO keeper; GRANT ALL ON ALL SEQUENCES IN SCHEMA wee5_cron TO keeper; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA wee5_cron TO keeper');
my $denied = $node->error_of('postgres', "SELECT invoke_cron_endpoint('/keeper')");
fields_are($denied, { sqlstate => '55000', message => qr/Vault cannot be read: permission denied for schema vault/, hint => qr/GRANT SELECT ON vault\.decrypted_secrets TO keeper/ }, 'without permission on Vault');
my $denied_store = $node->error_of('postgres', sprintf "SELECT wee5_cron.configure('%s', '%s', 'vault')", $one->url, $secret{$one});
fields_are($denied_store, { sqlstate => '42501', message => qr/permission denied/, hint => qr/GRANT .*vault\.secrets TO keeper/ }, '... also to store');
$node->safe_psql('postgres', join '', $denied->{hint} =~ /(GRANT .*)/s);
is($node->finished('postgres', $node->call('postgres', '/keeper'))->{status}, 'succeeded', 'the hint, pasted, is enough to read');
$node->safe_psql('postgres', join '', $denied_store->{hint} =~ /(GRANT .*)/s);
unlike(configure_vault($one), qr/ERROR/, '... and to store');
$node->safe_psql('postgres', 'ALTER FUNCTION invoke_cron_endpoint(text) OWNER TO CURRENT_USER; ALTER FUNCTION wee5_cron.configure(text, text, text, boolean) OWNER TO CURRENT_USER');

# Traps on the table: a role with ALL on it may create a trigger, which would run as the owner of wee5_cron.
$node->safe_psql('postgres', 'CREATE SCHEMA loot AUTHORIZATION mallory; GRANT USAGE ON SCHEMA vault TO mallory; GRANT ALL ON vault.secrets TO mallory');
$node->psql_as('mallory', 'postgres', <<'SQL');
CREATE TABLE loot.seen (who text, secret text);
CREATE FUNCTION loot.take() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO loot.seen VALUES (current_user, NEW.secret); RETURN NEW; END$$;
CREATE TRIGGER trap BEFORE UPDATE ON vault.secrets FOR EACH ROW EXECUTE FUNCTION loot.take();
SQL
my $trapped = configure_vault($one);
like($trapped, qr/55000: trigger "trap" on vault\.secrets does not belong to.*DROP TRIGGER trap ON vault\.secrets;/s, "a stranger's trigger on Vault's table is refused");
$node->safe_psql('postgres', 'DROP TRIGGER trap ON vault.secrets; GRANT CREATE ON SCHEMA vault TO mallory');
$node->psql_as('mallory', 'postgres', <<'SQL');
CREATE FUNCTION vault.update_secret(secret_id uuid, new_secret text) RETURNS void LANGUAGE sql AS $$INSERT INTO loot.seen VALUES (current_user, new_secret)$$;
SQL
like(configure_vault($one), qr/55000: vault\.update_secret\(\.\.\.\) does not belong to the extension/, '... and a better fitting function');
is($node->safe_psql('postgres', 'SELECT count(*) FROM loot.seen'), 0, 'nobody saw the secret');
$node->safe_psql('postgres', 'DROP FUNCTION vault.update_secret(uuid, text)');
unlike(join('', $trapped, map { $_->{text} } $denied, $denied_store), qr/canary/, 'no error holds the secret');

# An error that quotes the row.
$node->safe_psql('postgres', "ALTER TABLE vault.secrets ADD CONSTRAINT plain CHECK (secret NOT LIKE 'canary%') NOT VALID; DELETE FROM vault.secrets");
my $quoting = configure_vault($one);
like($quoting, qr/23514.*plain/s, 'where Vault itself raises, its error is passed on');
unlike($quoting, qr/\Q$secret{$one}/, '... without the row that it quotes');
$node->safe_psql('postgres', 'ALTER TABLE vault.secrets DROP CONSTRAINT plain');
configure_vault($one);

# With all of auto_explain.
$node->safe_psql('postgres', sprintf <<'SQL', $one->url, $secret{$one});
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_verbose = on;
SET plan_cache_mode = force_generic_plan;
PREPARE explained AS SELECT wee5_cron.configure($1, $2, 'vault');
EXECUTE explained('%s', '%s');
SELECT invoke_cron_endpoint('/explained');
SQL
$node->wait_until_all_finished('postgres');

# On pg_net, when the call is made. The secret is removed from its answers.
$node->safe_psql('postgres', "CREATE EXTENSION pg_net VERSION 'wee5fixture'; ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'");
$id = $node->call('postgres', '/by-pg-net');
my $request = $node->one_row('postgres', "SELECT url, headers ->> 'Authorization' AS bearer FROM net.http_request_queue q JOIN wee5_cron.pg_net_request r ON r.request_id = q.id WHERE invocation_id = $id");
fields_are($request, { url => $one->url . '/by-pg-net', bearer => "Bearer $secret{$one}" }, 'pg_net is given what Vault holds');
sub answer_by_pg_net {
    my ($id, $content) = @_;
    $node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO net._http_response (id, status_code, content) SELECT request_id, 500, '$content' FROM wee5_cron.pg_net_request WHERE invocation_id = $id;
DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id = $id;
COMMIT;
SQL
    return;
}
answer_by_pg_net($id, "you sent $secret{$one}");
fields_are($node->finished('postgres', $id), { status => 'failed', response_body => 'you sent [secret]' }, 'an app that gives the secret back');
$id = $node->call('postgres', '/by-pg-net');
$node->safe_psql('postgres', q{UPDATE vault.secrets SET secret = encode('broken', 'base64') WHERE name = 'cron_secret'});
answer_by_pg_net($id, "you sent $secret{$one}");
fields_are($node->finished('postgres', $id), { status => 'failed', http_status => 500, response_body => qr/^\[not kept: Vault cannot be read/ },
    '... is not kept where the secret cannot be known');
$node->safe_psql('postgres', 'DELETE FROM net._http_response');
# It cannot be updated, either: the hint says how to go on.
my $broken = configure_vault($one);
like($broken, qr/ERROR.*invalid ciphertext.*HINT:.*DELETE FROM vault\.secrets WHERE name IN \('api_url', 'cron_secret'\); SELECT wee5_cron\.configure/s,
    'what cannot be decrypted cannot be updated either');
$node->safe_psql('postgres', $broken =~ /(DELETE [^;]*;)/);
is(configure_vault($one) =~ s/\s+//r, '', '... the hint says what to do first');

# Both change between the two reads, the address by ALTER DATABASE and the secret in Vault: a request carries a pair that
# was valid at one time.
$node->safe_psql('postgres', "ALTER DATABASE postgres SET app.settings.api_url = '@{[ $one->url ]}'");
$locker = $node->background_psql('postgres');
my $caller = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE vault.secrets');
$caller->query_until(qr/asked/, "\\echo asked\nSELECT invoke_cron_endpoint('/in-between');\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT invoke%in-between%' AND wait_event_type = 'Lock'")
  or die 'the call does not wait for Vault';
$locker->query_safe("ALTER DATABASE postgres SET app.settings.api_url = '@{[ $two->url ]}'");
$locker->query_safe("SELECT vault.update_secret(id, '$secret{$two}') FROM vault.secrets WHERE name = 'cron_secret'");
$locker->query_safe('COMMIT');
$caller->query_safe('SELECT 1');
fields_are(
    $node->one_row('postgres', "SELECT url, headers ->> 'Authorization' AS bearer FROM net.http_request_queue WHERE url LIKE '%/in-between'"),
    { url => $one->url . '/in-between', bearer => "Bearer $secret{$one}" }, 'address and secret of one call are of one time');
$_->quit for $locker, $caller;

# Stored nowhere.
for my $table (split /\n/, $node->safe_psql('postgres', "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'wee5_cron'::regnamespace")) {
    unlike($node->safe_psql('postgres', "SELECT to_json(t) FROM $table t"), qr/canary-of-vault/, "no secret in $table");
}
my $statistics = $node->safe_psql('postgres', q{SELECT query FROM pg_stat_statements WHERE query NOT LIKE 'ALTER %'});
like($statistics, qr/vault\.create_secret/, 'pg_stat_statements knows what was done');
unlike($statistics, qr/canary-of-vault/, '... and not with which secret');
$node->stop;
my $log = join "\n", grep { !/^.*statement: (?:SELECT vault\.|ALTER )/ } split /\n(?!\t)/, slurp_file($node->logfile);
# From PostgreSQL 16 on it also logs parameters. We cannot hide those of the caller's own EXECUTE.
$log =~ s/(Query Text: PREPARE explained [^\n]*\n\tQuery Parameters:)[^\n]*/$1/g;
like($log, qr/Query Text: PREPARE explained/, 'the log has plans');
unlike($log, qr/canary-of-vault/, '... and no secret');
$node->log_is_sane;
done_testing();
