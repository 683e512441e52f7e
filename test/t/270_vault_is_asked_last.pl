# Supabase Vault as the source of address and secret, tested with a stand-in that has its table, view and functions. Vault is
# read only if no other source has a value. Changes apply at once, another object of that name is never used, and errors say
# what Vault refuses.
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

# Stores the values by configure() in Vault. Returns its messages.
sub configure_vault {
    my ($receiver, $path) = @_;
    my ($status, $stdout, $stderr) = $node->psql('postgres',
        sprintf("SELECT wee5_cron.configure('%s', '%s', store => 'vault')", $receiver->url . ($path // ''), $secret{$receiver}),
        extra_params => [ '-v', 'VERBOSITY=verbose' ]);
    return $stdout . $stderr =~ s/^LOCATION:.*\n//mgr =~ s/^psql:\S+ //mgr;
}

# Stores a value in Vault directly.
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

# A view of that name that another role created is not used: it would run as the owner of wee5_cron.
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
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', "a call does not read a view that is not Vault's", message => qr/^app\.settings\.api_url is not set$/);
like(configure_vault($one), qr/55000: the extension supabase_vault is not installed.*CREATE EXTENSION supabase_vault/s, "configure() does not store in a schema vault that is not Vault's");
is(source_of('api_url')->{source}, 'none', "setting_sources() does not read a view that is not Vault's");
is($node->safe_psql('postgres', 'SELECT count(*) FROM vault.seen'), 0, '... and no code of that view has run');
$node->safe_psql('postgres', 'DROP SCHEMA vault CASCADE');

# Stored and read.
$node->safe_psql('postgres', "CREATE EXTENSION supabase_vault VERSION 'wee5fixture'");
my $session = $node->background_psql('postgres');
is(configure_vault($one) =~ s/\s+//r, '', "configure() with store => 'vault' prints nothing");
my $ids = $node->safe_psql('postgres', 'SELECT name, id FROM vault.secrets ORDER BY name');
is(join(' ', $ids =~ /^(\w+)\|/mg), 'api_url cron_secret', 'both values are in Vault');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_db_role_setting, unnest(setconfig) entry WHERE entry LIKE 'app.%'"), 0, '... and in no setting of the database');
my $id = $session->query_safe("SELECT invoke_cron_endpoint('/first')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', transport => 'builtin', url => $one->url . '/first' }, 'a call uses the address from Vault');
is(bearer_of($one, '/first'), 'match', '... and the secret from Vault');
fields_are(source_of('cron_secret'), { source => 'vault', is_set => 1, length => length $secret{$one}, value => undef }, 'setting_sources() says that the secret comes from Vault');

# A second configure() updates the values; open sessions and queued calls use them.
$node->block_the_wire('postgres', $one);
my $queued = $session->query_safe("SELECT invoke_cron_endpoint('/queued')");
configure_vault($two, '/base');
is($node->safe_psql('postgres', 'SELECT name, id FROM vault.secrets ORDER BY name'), $ids, 'a second configure() updates the same two secrets');
my $after = $session->query_safe("SELECT invoke_cron_endpoint('/after')");
$one->release;
fields_are($node->finished('postgres', $queued), { status => 'succeeded', url => $two->url . '/base/queued' }, 'a queued call uses the changed address from Vault');
is(bearer_of($two, '/base/queued'), 'match', '... and the changed secret');
is($node->finished('postgres', $after)->{url}, $two->url . '/base/after', 'a call of an open session uses the changed address, too');
$node->set_server('wee5_cron.max_in_flight', 256);

# All other sources take precedence.
my @stronger = ('ALTER ROLE ALL', 'ALTER DATABASE postgres', 'ALTER ROLE web', 'ALTER ROLE web IN DATABASE postgres');
$node->safe_psql('postgres', "CREATE ROLE web LOGIN; SELECT wee5_cron.grant_to('web', 'call')");
for my $alter (@stronger) {
    $node->safe_psql('postgres', sprintf "%s SET app.settings.api_url = '%s'; %1\$s SET app.settings.cron_secret = '%s'", $alter, $one->url . '/strong', $secret{$one});
    $id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/call')");
    fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $one->url . '/strong/call' }, "$alter takes precedence over Vault");
    my $said = configure_vault($two, '/base');
    like($said, qr/WARNING.*app\.settings\.cron_secret \(\Q$alter\E\)/s, '... and configure() warns of it');
    my ($reset) = $said =~ /^HINT:\s+(ALTER .*)$/m;
    $node->safe_psql('postgres', $reset);
    is(configure_vault($two, '/base') =~ s/\s+//r, '', '... and warns no longer after its hint was run');
}
# One of the two is stored in a setting, and the other is in Vault; blanks are unset.
$node->safe_psql('postgres', sprintf "ALTER DATABASE postgres SET app.settings.api_url = '%s'; ALTER ROLE web SET app.settings.cron_secret = '  '", $two->url . '/mixed');
$id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/call')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $two->url . '/mixed/call' }, 'a call uses a stored address together with a secret from Vault');
is(bearer_of($two, '/mixed/call'), 'match', '... and that secret is the right one');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url; ALTER ROLE web RESET ALL');
vault('cron_secret', "  ");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'a blank secret in Vault counts as unset', message => qr/cron_secret is not set$/, hint => qr/configure/);
$id = $node->safe_psql('postgres', "SET wee5_cron.missing_config = 'skip'; SELECT invoke_cron_endpoint('/skip')");
fields_are($node->invocation('postgres', $id), { status => 'skipped', reason => 'config', error => qr/cron_secret is not set/ }, "... or, with missing_config = 'skip', leaves a row that says skipped");
vault('cron_secret', "bad\x01secret");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'a secret in Vault that no header can carry is refused', message => qr/control character/);
configure_vault($one);

# The names of the secrets are settings that a caller cannot change.
$node->raises('postgres', "SET wee5_cron.vault_cron_secret = 'other'", '42501', "a caller may not choose the secret's name", role => 'web');
$node->safe_psql('postgres', sprintf q{SELECT vault.create_secret('%s', 'app two'), vault.create_secret('%s', 'secret two')}, $two->url . '/named', $secret{$two});
$node->block_the_wire('postgres', $one);
$queued = $session->query_safe("SELECT invoke_cron_endpoint('/queued')");
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.vault_api_url = 'app two'; ALTER DATABASE postgres SET wee5_cron.vault_cron_secret = 'secret two'");
$after = $session->query_safe("SELECT invoke_cron_endpoint('/after')");
$one->release;
$node->finished('postgres', $_) for $queued, $after;
is(bearer_of($two, $_), 'match', "$_: changed names apply at once to queued calls and open sessions") for '/named/queued', '/named/after';
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET wee5_cron.vault_api_url; ALTER DATABASE postgres RESET wee5_cron.vault_cron_secret');
is($node->finished('postgres', $session->query_safe("SELECT invoke_cron_endpoint('/back')"))->{url}, $one->url . '/back', '... and after RESET the old names apply');
$session->quit;
$node->set_server('wee5_cron.max_in_flight', 256);

# Values that Vault cannot give. With a broken secret, calls that need it fail with the reason, and others are made.
$node->safe_psql('postgres', sprintf "ALTER ROLE web SET app.settings.api_url = '%s'; ALTER ROLE web SET app.settings.cron_secret = '%s'", $one->url, $secret{$one});
$node->block_the_wire('postgres', $one);
my @waiting = map { $node->call('postgres', "/unreadable/$_") } 1 .. 2;
my $independent = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/independent')");
$node->safe_psql('postgres', q{CREATE TABLE kept AS SELECT id, secret FROM vault.secrets; UPDATE vault.secrets SET secret = encode('broken', 'base64') WHERE name = 'cron_secret'});
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'a secret that cannot be decrypted',
    message => qr/^app\.settings\.api_url is not set, and Vault cannot be read: invalid ciphertext/, hint => qr/configure/);
like(source_of('cron_secret')->{error}, qr/invalid ciphertext/, 'setting_sources() shows that the secret cannot be decrypted');
$one->release;
fields_are($node->finished('postgres', $_), { status => 'failed', reason => 'config', http_status => undef, error => qr/Vault cannot be read: invalid ciphertext/, hint => qr/configure/ },
    'a queued call that needs the broken secret fails with reason config') for @waiting;
fields_are($node->finished('postgres', $independent), { status => 'succeeded' }, '... and a call that does not need it succeeds');
$node->safe_psql('postgres', 'UPDATE vault.secrets s SET secret = k.secret FROM kept k WHERE k.id = s.id; ALTER ROLE web RESET ALL');
$node->set_server('wee5_cron.max_in_flight', 256);

# Vault is locked for a while: no call fails because of it.
my $locker = $node->background_psql('postgres');
$node->block_the_wire('postgres', $one);
$queued = $node->call('postgres', '/while-locked');
$locker->query_safe('BEGIN');
$locker->query_safe('LOCK TABLE vault.secrets');
# From here on the worker's copy may be out of date, so it has to read Vault again.
$node->safe_psql('postgres', 'CREATE TABLE somebody_wrote_something ()');
$one->release;
$node->poll_query_until('postgres', "SELECT state = 'blocked' AND last_error LIKE '%lock timeout%' FROM wee5_cron.worker") or die 'the worker is not blocked';
fields_are($node->invocation('postgres', $queued), { finished_at => undef }, 'a call stays queued while Vault is locked');
$locker->query_safe('COMMIT');
fields_are($node->finished('postgres', $queued), { status => 'succeeded' }, '... and succeeds afterwards');
$locker->quit;
$node->set_server('wee5_cron.max_in_flight', 256);

# An owner of wee5_cron without access to Vault.
$node->safe_psql('postgres', 'CREATE ROLE keeper; ALTER FUNCTION invoke_cron_endpoint(text) OWNER TO keeper; ALTER FUNCTION wee5_cron.configure(text, text, text, boolean) OWNER TO keeper;'
      . 'GRANT USAGE ON SCHEMA wee5_cron TO keeper; GRANT ALL ON ALL TABLES IN SCHEMA wee5_cron TO keeper; GRANT ALL ON ALL SEQUENCES IN SCHEMA wee5_cron TO keeper; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA wee5_cron TO keeper');
my $denied = $node->error_of('postgres', "SELECT invoke_cron_endpoint('/keeper')");
fields_are($denied, { sqlstate => '55000', message => qr/Vault cannot be read: permission denied for schema vault/, hint => qr/GRANT SELECT ON vault\.decrypted_secrets TO keeper/ }, "a call is an error if wee5_cron's owner may not read Vault");
my $denied_store = $node->error_of('postgres', sprintf "SELECT wee5_cron.configure('%s', '%s', 'vault')", $one->url, $secret{$one});
fields_are($denied_store, { sqlstate => '42501', message => qr/permission denied/, hint => qr/GRANT .*vault\.secrets TO keeper/ }, "configure() is an error if wee5_cron's owner may not write to Vault");
$node->safe_psql('postgres', join '', $denied->{hint} =~ /(GRANT .*)/s);
is($node->finished('postgres', $node->call('postgres', '/keeper'))->{status}, 'succeeded', 'after the hint its owner may read Vault');
$node->safe_psql('postgres', join '', $denied_store->{hint} =~ /(GRANT .*)/s);
unlike(configure_vault($one), qr/ERROR/, '... and write to it');
$node->safe_psql('postgres', 'ALTER FUNCTION invoke_cron_endpoint(text) OWNER TO CURRENT_USER; ALTER FUNCTION wee5_cron.configure(text, text, text, boolean) OWNER TO CURRENT_USER');

# Traps on the table: a role with all privileges on it may create a trigger, which would run as the owner of wee5_cron.
$node->safe_psql('postgres', 'CREATE SCHEMA loot AUTHORIZATION mallory; GRANT USAGE ON SCHEMA vault TO mallory; GRANT ALL ON vault.secrets TO mallory');
$node->psql_as('mallory', 'postgres', <<'SQL');
CREATE TABLE loot.seen (who text, secret text);
CREATE FUNCTION loot.take() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO loot.seen VALUES (current_user, NEW.secret); RETURN NEW; END$$;
CREATE TRIGGER trap BEFORE UPDATE ON vault.secrets FOR EACH ROW EXECUTE FUNCTION loot.take();
SQL
my $trapped = configure_vault($one);
like($trapped, qr/55000: trigger "trap" on vault\.secrets does not belong to.*DROP TRIGGER trap ON vault\.secrets;/s, "a trigger of another role on Vault's table is refused");
$node->safe_psql('postgres', 'DROP TRIGGER trap ON vault.secrets; GRANT CREATE ON SCHEMA vault TO mallory');
$node->psql_as('mallory', 'postgres', <<'SQL');
CREATE FUNCTION vault.update_secret(secret_id uuid, new_secret text) RETURNS void LANGUAGE sql AS $$INSERT INTO loot.seen VALUES (current_user, new_secret)$$;
SQL
like(configure_vault($one), qr/55000: vault\.update_secret\(\.\.\.\) does not belong to the extension/, "... and so is another role's function that fits the call better");
is($node->safe_psql('postgres', 'SELECT count(*) FROM loot.seen'), 0, 'no trap saw the secret');
$node->safe_psql('postgres', 'DROP FUNCTION vault.update_secret(uuid, text)');
unlike(join('', $trapped, map { $_->{text} } $denied, $denied_store), qr/canary/, 'no error contains the secret');

# An error that quotes the row.
$node->safe_psql('postgres', "ALTER TABLE vault.secrets ADD CONSTRAINT plain CHECK (secret NOT LIKE 'canary%') NOT VALID; DELETE FROM vault.secrets");
my $quoting = configure_vault($one);
like($quoting, qr/23514.*plain/s, 'an error of Vault itself is passed on');
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

# With pg_net, when the call is made. The secret is redacted in its answers.
$node->safe_psql('postgres', "CREATE EXTENSION pg_net VERSION 'wee5fixture'; ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'");
$id = $node->call('postgres', '/by-pg-net');
my $request = $node->one_row('postgres', "SELECT url, headers ->> 'Authorization' AS bearer FROM net.http_request_queue q JOIN wee5_cron.pg_net_request r ON r.request_id = q.id WHERE invocation_id = $id");
fields_are($request, { url => $one->url . '/by-pg-net', bearer => "Bearer $secret{$one}" }, 'pg_net is given the address and the secret from Vault');
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
fields_are($node->finished('postgres', $id), { status => 'failed', response_body => 'you sent [secret]' }, 'a secret in an answer of pg_net is redacted');
$id = $node->call('postgres', '/by-pg-net');
$node->safe_psql('postgres', q{UPDATE vault.secrets SET secret = encode('broken', 'base64') WHERE name = 'cron_secret'});
answer_by_pg_net($id, "you sent $secret{$one}");
fields_are($node->finished('postgres', $id), { status => 'failed', http_status => 500, response_body => qr/^\[not kept: Vault cannot be read/ },
    'an answer of pg_net is not stored while the secret is unknown');
$node->safe_psql('postgres', 'DELETE FROM net._http_response');
# A broken secret cannot be updated, either: the hint says how to go on.
my $broken = configure_vault($one);
like($broken, qr/ERROR.*invalid ciphertext.*HINT:.*DELETE FROM vault\.secrets WHERE name IN \('api_url', 'cron_secret'\); SELECT wee5_cron\.configure/s,
    'a secret that Vault cannot decrypt cannot be updated');
$node->safe_psql('postgres', $broken =~ /(DELETE [^;]*;)/);
is(configure_vault($one) =~ s/\s+//r, '', '... but can be stored again after the hint');

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
    { url => $one->url . '/in-between', bearer => "Bearer $secret{$one}" }, 'a request carries an address and a secret that were valid at the same time');
$_->quit for $locker, $caller;

# The secret is stored nowhere else.
for my $table (split /\n/, $node->safe_psql('postgres', "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'wee5_cron'::regnamespace")) {
    unlike($node->safe_psql('postgres', "SELECT to_json(t) FROM $table t"), qr/canary-of-vault/, "the table $table contains no secret");
}
my $statistics = $node->safe_psql('postgres', q{SELECT query FROM pg_stat_statements WHERE query NOT LIKE 'ALTER %'});
like($statistics, qr/vault\.create_secret/, 'pg_stat_statements records the statements on Vault');
unlike($statistics, qr/canary-of-vault/, '... without the secret');
$node->stop;
my $log = join "\n", grep { !/^.*statement: (?:SELECT vault\.|ALTER )/ } split /\n(?!\t)/, slurp_file($node->logfile);
# From PostgreSQL 16 on it also logs parameters. We cannot hide those of the caller's own EXECUTE.
$log =~ s/(Query Text: PREPARE explained [^\n]*\n\tQuery Parameters:)[^\n]*/$1/g;
like($log, qr/Query Text: PREPARE explained/, 'the log contains plans');
unlike($log, qr/canary-of-vault/, '... and not the secret');
$node->log_is_sane;
done_testing();
