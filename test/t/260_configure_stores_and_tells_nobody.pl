# wee5_cron.configure(): what it accepts and refuses, which roles may use it, and which value applies afterwards. The secret in
# its arguments appears in no log line, statistics, pg_stat_activity or error.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $canary   = 'canary-of-configure-0815';
my $receiver = Wee5Cron::Receiver->start(secret => $canary);
my $url      = $receiver->url;
my $node     = Wee5Cron::Node->start_new('main', preload => 'pg_stat_statements,auto_explain,pg_cron,wee5_cron', conf => <<'CONF');
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
log_statement = ddl
log_min_messages = debug1
log_min_error_statement = debug1
CONF
$node->install('postgres');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');

# The server's answer to a statement, with WARNINGs and hints, and with the given settings for this one session.
sub said {
    my ($sql, %params) = @_;
    my ($status, $stdout, $stderr) = $node->psql('postgres', $sql,
        extra_params => [ '-v', 'VERBOSITY=verbose', ($params{role} ? ('-U', $params{role}) : ()) ]);
    return $stdout . $stderr;
}

sub stored {
    return $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(entry, ' ' ORDER BY entry) FROM pg_db_role_setting, unnest(setconfig) entry
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = 'postgres') AND setrole = 0 AND entry LIKE 'app.settings%'
SQL
}

sub sources {
    my ($role) = @_;
    my $argument = $role ? "'$role'" : '';
    return { map { $_->{name} =~ s/.*\.//r => $_ } $node->rows('postgres', "SELECT * FROM wee5_cron.setting_sources($argument)") };
}

# It stores both values, and the next call uses them.
my @everything_said;
fields_are(sources()->{cron_secret}, { source => 'none', is_set => 0, length => 0, value => undef, error => undef }, 'at first setting_sources() has no secret');
my $session = $node->background_psql('postgres');
push @everything_said, $session->query_safe("SELECT wee5_cron.configure(' $url ', '$canary')");
unlike(join('', @everything_said), qr/WARNING|\Q$canary/, 'configure() prints nothing');
is(stored(), "app.settings.api_url=$url app.settings.cron_secret=$canary", 'configure() stores both values for the database, without surrounding blanks');
my $id = $session->query_safe("SELECT invoke_cron_endpoint('/configured')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', url => "$url/configured" }, 'the next call of the same session uses the new address');
is(($receiver->requests('/configured'))[0]{bearer}, 'match', '... and the new secret');
fields_are(sources()->{cron_secret}, { source => 'database', is_set => 1, length => length $canary, value => undef, error => undef },
    'setting_sources() shows the source and the length of the secret, but not the secret');
fields_are(sources()->{api_url}, { source => 'database', is_set => 1, length => length $url, value => $url, error => undef }, '... and shows the address');

# Where a running or finished statement is visible.
$session->query_safe("SELECT wee5_cron.configure('$url', '$canary')");
is($node->safe_psql('postgres', q{SELECT query FROM pg_stat_activity WHERE query LIKE 'SELECT wee5_cron.configure(%'}),
    'SELECT wee5_cron.configure(...)', 'pg_stat_activity shows a configure() without its arguments');
# While it runs: it waits for another configure() that has not committed.
my $other = $node->background_psql('postgres');
$other->query_safe('BEGIN');
$other->query_safe("SELECT wee5_cron.configure('$url/first', '$canary')");
$session->query_until(qr/asked/, "\\echo asked\nSELECT wee5_cron.configure('$url', '$canary');\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'SELECT wee5_cron.configure(...)' AND wait_event_type = 'Lock'})
  or die 'the second configure() does not wait';
unlike($node->safe_psql('postgres', 'SELECT to_json(a) FROM pg_stat_activity a'), qr/\Q$canary/, '... even while it runs');
$other->query_safe('COMMIT');
$session->query_safe('SELECT 1');
is(stored(), "app.settings.api_url=$url app.settings.cron_secret=$canary", 'two concurrent configure() wait for each other');
$other->quit;
$session->quit;

# It stores both or none.
$node->safe_psql('postgres', "BEGIN; SELECT wee5_cron.configure('$url/never', 'another secret, never used'); ROLLBACK");
$node->raises('postgres', "SELECT wee5_cron.configure('$url/never', E'bad\\001$canary')", '22023', 'a control character in the secret is refused',
    message => qr/cron_secret holds a control character/);
is(stored(), "app.settings.api_url=$url app.settings.cron_secret=$canary", 'a configure() that is rolled back or refused changes neither value');

# What it refuses. The error names the value, but never the secret.
my @refused = (
    [ '22004', "NULL, '$canary'",                                 qr/api_url must not be NULL/ ],
    [ '22004', "'$url', NULL",                                    qr/cron_secret must not be NULL/ ],
    [ '22004', "'$url', '$canary', NULL",                         qr/store must not be NULL/ ],
    [ '22023', "'$url', '$canary', 'file'",                       qr/unknown store/ ],
    [ '22023', "'$url', 'database', '$canary'",                   qr/unknown store/ ],
    [ '22023', "' ', '$canary'",                                  qr/api_url is blank/ ],
    [ '22023', "'$url', E' \\n'",                                 qr/cron_secret is blank/ ],
    [ '22023', "'ftp://app.example.com', '$canary'",              qr{"ftp://app.example.com" is neither https} ],
    [ '22023', "'app.example.com', '$canary'",                    qr/"app.example.com" does not begin with https/ ],
    [ '22023', "'http://app.example.com', '$canary'",             qr{"http://app.example.com" would send the bearer secret in clear text} ],
    [ '22023', "'https://app.example.com?x=1', '$canary'",        qr/holds a query/ ],
    [ '22023', "'https://u:$canary\@app.example.com', '$canary'", qr/holds user information/ ],
    [ '22023', "'$url', 'caf\x{c3}\x{a9}-$canary'",               qr/cron_secret holds a character that is not ASCII/ ],
    [ '55000', "'$url', '$canary', 'vault'",                      qr/the extension supabase_vault is not installed/ ],
);
for my $case (@refused) {
    my ($sqlstate, $arguments, $message) = @$case;
    my $error = $node->error_of('postgres', "SELECT wee5_cron.configure($arguments)");
    fields_are($error, { sqlstate => $sqlstate, message => $message, hint => qr/\w/ }, "configure($arguments)" =~ s/\Q$canary/.../gr);
    push @everything_said, $error->{text} =~ s/^LINE \d.*\n.*\n//mgr;
}
is(stored(), "app.settings.api_url=$url app.settings.cron_secret=$canary", 'no refused configure() has stored a value');
like(said("SET wee5_cron.allow_plain_http = on; BEGIN; SELECT wee5_cron.configure('http://app.example.com', '$canary'); ROLLBACK"), qr/^\s*$/,
    'with allow_plain_http, configure() accepts http to a public host');
like(said("BEGIN; SELECT wee5_cron.configure('$url', 'fifteen letters'); ROLLBACK"), qr/WARNING.*fewer than 16 characters.*HINT:.*openssl rand -hex 32/s,
    'configure() accepts a short secret with a warning');

# Callers' own code around it: an error has its statement in the context, and a later error in the same string is logged
# with the whole string.
push @everything_said, said("SELECT wee5_cron.configure('$url', '$canary')\\; SELECT 1/0");
$node->psql('postgres', "DO \$\$ BEGIN PERFORM wee5_cron.configure('gopher://x', '$canary'); END \$\$");
$node->psql('postgres', <<SQL);
CREATE FUNCTION pg_temp.wrapped(secret text) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN EXECUTE format('SELECT wee5_cron.configure(%L, %L)', 'gopher://x', secret); END \$\$;
PREPARE wrapped AS SELECT pg_temp.wrapped(\$1);
EXECUTE wrapped('$canary');
SQL
# With all of auto_explain: the caller's statement is visible, but nothing inside configure() is.
$node->safe_psql('postgres', <<SQL);
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_verbose = on;
SET plan_cache_mode = force_generic_plan;
PREPARE explained AS SELECT wee5_cron.configure(\$1, \$2);
EXECUTE explained('$url', '$canary');
SQL
unlike(join("\n", @everything_said), qr/\Q$canary/, 'no answer of the server contains the secret');
my $log = slurp_file($node->logfile);
# From PostgreSQL 16 on it also logs parameters. We cannot hide those of the caller's own EXECUTE.
$log =~ s/(Query Text: PREPARE explained [^\n]*\n\tQuery Parameters:)[^\n]*/$1/g;
like($log, qr/STATEMENT:  SELECT wee5_cron\.configure\(\.\.\.\)/, 'the log records failed statements of configure()');
like($log, qr/division by zero/, '... and an error in a statement after it');
like($log, qr/Query Text: PREPARE explained/, "... and auto_explain's plans");
unlike($log, qr/\Q$canary/, 'the log does not contain the secret: neither DDL nor errors, contexts or plans');
my $statistics = $node->safe_psql('postgres', 'SELECT query FROM pg_stat_statements');
like($statistics, qr/wee5_cron\.configure\(\$1, ?\$2\)/, 'pg_stat_statements records configure()');
# A DO block is a utility statement, which pg_stat_statements records as it is. This one is the test's own.
unlike(join("\n", grep { !/gopher/ } split /\n(?=SELECT|DO|BEGIN)/, $statistics), qr/\Q$canary/, '... without its arguments');

# A value stored for a role, or set in the session, takes precedence.
$node->safe_psql('postgres', "CREATE ROLE web LOGIN; CREATE ROLE \"odd Role\"; ALTER ROLE web SET app.settings.api_url = '$url/web';"
      . qq{ALTER ROLE "odd Role" IN DATABASE postgres SET app.settings.cron_secret = 'x'; ALTER ROLE ALL SET app.settings.api_url = 'http://10.0.0.1'});
my $warning = said("SELECT wee5_cron.configure('$url', '$canary')");
like($warning, qr/WARNING.*app\.settings\.api_url \(ALTER ROLE web\).*app\.settings\.cron_secret \(ALTER ROLE "odd Role" IN DATABASE postgres\)/s,
    'configure() warns of a value stored for a role');
unlike($warning, qr/ROLE ALL/, '... but not of a value stored for ROLE ALL');
fields_are(sources('web')->{api_url}, { source => 'role', value => "$url/web" }, "setting_sources() shows the role's value for that role");
my ($reset) = $warning =~ /^HINT:\s+(ALTER .*)$/m;
$node->safe_psql('postgres', $reset);
unlike(said("SELECT wee5_cron.configure('$url', '$canary')"), qr/WARNING/, 'after the hint, configure() warns no longer');
fields_are(sources('web')->{api_url}, { source => 'database', value => $url }, "... and that role uses the database's value");
like(said("SET app.settings.api_url = '$url/mine'; SELECT wee5_cron.configure('$url', '$canary')"),
    qr/WARNING.*app\.settings\.api_url is set in this session, which takes precedence.*HINT:\s+RESET app\.settings\.api_url;/s,
    'configure() warns of a value set in the session');
$node->safe_psql('postgres', 'ALTER ROLE ALL RESET app.settings.api_url');

# Which roles may use it.
$node->safe_psql('postgres', "CREATE ROLE caller LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE operator LOGIN; CREATE ROLE app_owner LOGIN;"
      . "SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('reader', 'read'), wee5_cron.grant_to('operator', 'operate')");
for my $role (qw(caller reader)) {
    $node->raises('postgres', "SELECT wee5_cron.configure('$url', 'not for you at all')", '42501', "a $role may not use configure()", role => $role);
    $node->raises('postgres', "SELECT * FROM wee5_cron.setting_sources()", '42501', '... and may not read setting_sources()', role => $role);
}
is($node->psql_as('operator', 'postgres', "SELECT wee5_cron.configure('$url/by-operator', '$canary') IS NULL"), 'f', 'an operator may use configure()');
like(stored(), qr{/by-operator }, '... and the new address is stored');
$node->raises('postgres', 'SELECT * FROM wee5_cron.setting_sources()', '42501', '... but may not read setting_sources()', role => 'operator');

# An operator may not read the secret, so configure() does not let an operator send it to another address, either. That
# could happen when the secret of some calls is stored in another place than their address and would stay unchanged.
sub evil_address_is_refused {
    my ($name, $whose, $store) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = stored();
    $node->raises('postgres', "SELECT wee5_cron.configure('http://evil.internal', 'a secret of the operator', '$store')", '42501', $name,
        role => 'operator', message => qr/calls by $whose would send a secret that is stored elsewhere/, hint => qr/pg_read_all_settings/);
    return is(stored(), $before, '... and it stores nothing');
}
my $theirs = "app.settings.cron_secret = 'a secret of the role'";
for my $place ('ROLE web', 'ROLE web IN DATABASE postgres') {
    $node->safe_psql('postgres', "ALTER $place SET $theirs");
    evil_address_is_refused("a secret that is stored for $place", 'web', 'database');
    like(said("SELECT wee5_cron.configure('$url', '$canary')"), qr/WARNING.*ALTER $place/, '... a superuser may, and gets a warning');
    $node->safe_psql('postgres', "ALTER $place SET app.settings.api_url = '$url/web'");
    is($node->error_of('postgres', "SELECT wee5_cron.configure('$url', '$canary')", role => 'operator'), undef, 'an operator may when the affected role has its own address, too');
    $node->safe_psql('postgres', "ALTER $place RESET app.settings.cron_secret; ALTER $place RESET app.settings.api_url");
}
# With Vault, over which all other sources take precedence.
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url');
evil_address_is_refused('a secret of the database, and the address in Vault', 'every role', 'vault');
$node->safe_psql('postgres', "ALTER DATABASE postgres RESET app.settings.cron_secret; ALTER ROLE ALL SET $theirs");
evil_address_is_refused('a secret of ROLE ALL, and the address in Vault', 'every role', 'vault');
$node->safe_psql('postgres', "ALTER ROLE ALL RESET app.settings.cron_secret; ALTER ROLE web SET wee5_cron.vault_cron_secret = 'secret_of_web'");
evil_address_is_refused("a role's own name for the secret in Vault", 'web', 'vault');
$node->safe_psql('postgres', "ALTER ROLE web RESET wee5_cron.vault_cron_secret; SELECT wee5_cron.configure('$url', '$canary')");
is($node->error_of('postgres', "SELECT wee5_cron.configure('$url', '$canary')", role => 'operator'), undef, 'an operator may once none of these values is stored');

# If the function's owner is not a superuser, configure() may do what that owner may do.
my $configure = "SELECT wee5_cron.configure('$url', '$canary')";
$node->safe_psql('postgres', 'ALTER FUNCTION wee5_cron.configure(text, text, text, boolean) OWNER TO app_owner');
$node->raises('postgres', $configure, '42501', 'the owner of another database may not use configure()', message => qr/does not own database "postgres"/, hint => qr/ALTER DATABASE postgres OWNER TO app_owner/);
$node->safe_psql('postgres', 'ALTER DATABASE postgres OWNER TO app_owner');
my $denied = $node->error_of('postgres', $configure);
fields_are($denied, { sqlstate => '42501', message => qr/permission denied to set parameter "app\.settings\.api_url"/, hint => qr/GRANT SET ON PARAMETER .* TO app_owner;/ },
    "the database's owner needs GRANT SET ON PARAMETER for configure()");
$node->raises('postgres', "ALTER DATABASE postgres SET app.settings.api_url = '$url/plain'", '42501', '... and for ALTER DATABASE', role => 'app_owner');
my ($grant) = $denied->{hint} =~ /(GRANT .*;)/;
$node->safe_psql('postgres', $grant);
$node->safe_psql('postgres', $configure);
like(stored(), qr{api_url=\Q$url\E }, "after the hint the database's owner may use configure()");
$node->psql_as('app_owner', 'postgres', "ALTER DATABASE postgres SET app.settings.api_url = '$url/plain'");
like(stored(), qr{api_url=\Q$url\E/plain }, '... and ALTER DATABASE');

$node->raises('postgres', "BEGIN READ ONLY; $configure", '25006', 'configure() is refused in a read-only transaction');
$node->log_is_sane;
done_testing();
