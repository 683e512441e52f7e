# Open sessions, as in a connection pool: whatever changes anywhere, the next call of each session uses it, on both
# transports.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => ['pg_net', 'supabase_vault'];

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret of the pool');
my $url      = $receiver->url;
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => "$url/database", secret => 'the secret of the pool');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_net VERSION 'wee5fixture';
CREATE EXTENSION supabase_vault VERSION 'wee5fixture';
CREATE ROLE web LOGIN;
CREATE ROLE jobs LOGIN;
SELECT wee5_cron.grant_to('web', 'call'), wee5_cron.grant_to('jobs', 'call');
SQL

my %pool = map { $_ => $node->background_psql('postgres', extra_params => [ '-U', $_ ]) } qw(web jobs);
$pool{owner} = $node->background_psql('postgres');

my $transport;

# Where a call of each session of the pool goes: { web => '/database', ... }.
sub goes_to {
    my %call = map { $_ => $pool{$_}->query_safe("SELECT invoke_cron_endpoint('/x')") } keys %pool;
    my %to;
    for my $who (keys %call) {
        # With pg_net the address is fixed when the call is made; with the builtin transport, when it is sent.
        my $row = $transport eq 'builtin' ? $node->finished('postgres', $call{$who}) : $node->invocation('postgres', $call{$who});
        ($to{$who}) = ($row->{url} // '') =~ m{^\Q$url\E(.*)/x$};
    }
    return \%to;
}

sub all_go_to {
    my ($to, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    fields_are(goes_to(), { web => $to->{web} // $to->{all}, jobs => $to->{jobs} // $to->{all}, owner => $to->{owner} // $to->{all} }, "$transport: $name");
    return;
}

sub set {
    my ($alter, $path) = @_;
    return $node->safe_psql('postgres', "ALTER $alter SET app.settings.api_url = '$url$path'");
}

for my $chosen (qw(builtin pg_net)) {
    $transport = $chosen;
    # This value is for sessions of the role, and applies from its next login on.
    $pool{owner}->query_safe("SET wee5_cron.transport = '$transport'");
    $node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = '$transport'");
    for my $who (qw(web jobs)) {
        $pool{$who}->quit;
        $pool{$who} = $node->background_psql('postgres', extra_params => [ '-U', $who ]);
    }
    all_go_to({ all => '/database' }, 'calls use what is stored for the database');

    set('DATABASE postgres', '/moved');
    all_go_to({ all => '/moved' }, 'calls follow ALTER DATABASE');
    set('ROLE web', '/role');
    all_go_to({ all => '/moved', web => '/role' }, 'ALTER ROLE takes precedence over the database');
    set('ROLE web IN DATABASE postgres', '/here');
    set('ROLE web IN DATABASE template1', '/elsewhere');
    all_go_to({ all => '/moved', web => '/here' }, 'ALTER ROLE IN DATABASE takes precedence over the role, in that database only');
    set('ROLE ALL', '/everybody');
    all_go_to({ all => '/moved', web => '/here' }, 'the database takes precedence over ALTER ROLE ALL');
    $node->safe_psql('postgres', q{ALTER ROLE web IN DATABASE postgres SET app.settings.api_url = ' '});
    all_go_to({ all => '/moved', web => '/role' }, 'a blank value counts as unset');
    $node->safe_psql('postgres', 'ALTER ROLE web RESET app.settings.api_url');
    all_go_to({ all => '/moved' }, "after RESET of the role calls use the database's value");
    $node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url');
    all_go_to({ all => '/everybody' }, 'after RESET of the database calls use the value of ALTER ROLE ALL');
    $node->safe_psql('postgres', "SELECT vault.create_secret('$url/vault', 'api_url')");
    all_go_to({ all => '/everybody' }, 'every other source takes precedence over Vault');
    $node->safe_psql('postgres', 'ALTER ROLE ALL RESET app.settings.api_url');
    all_go_to({ all => '/vault' }, 'calls use Vault if no other source has a value');
    $node->safe_psql('postgres', "SELECT vault.update_secret(id, '$url/turned') FROM vault.secrets");
    all_go_to({ all => '/turned' }, 'calls follow a change in Vault');
    $node->safe_psql('postgres', 'ALTER ROLE jobs RENAME TO tasks');
    set('ROLE tasks', '/renamed');
    all_go_to({ all => '/turned', jobs => '/renamed' }, 'settings of a renamed role still apply');
    $node->safe_psql('postgres', 'ALTER ROLE tasks RENAME TO jobs; ALTER ROLE jobs RESET ALL; ALTER ROLE web IN DATABASE postgres RESET ALL; ALTER ROLE web IN DATABASE template1 RESET ALL');

    # A change in the same session, committed or not, and a change that is rolled back.
    is($pool{owner}->query_safe("SELECT wee5_cron.configure('$url/same', 'the secret of the pool') IS NULL"), 'f', "$transport: configure() works in a session of the pool");
    all_go_to({ all => '/same' }, 'all sessions follow configure()');
    $pool{owner}->query_safe('BEGIN');
    $pool{owner}->query_safe("ALTER DATABASE postgres SET app.settings.api_url = '$url/uncommitted'");
    my $inside = $pool{owner}->query_safe("SELECT invoke_cron_endpoint('/x')");
    my $outside = $pool{web}->query_safe("SELECT invoke_cron_endpoint('/x')");
    $pool{owner}->query_safe('COMMIT');
    my @ended = map { $transport eq 'builtin' ? $node->finished('postgres', $_) : $node->invocation('postgres', $_) } $inside, $outside;
    is($ended[0]{url}, "$url/uncommitted/x", "$transport: a call in the transaction of a change uses the new value");
    like($ended[1]{url}, $transport eq 'builtin' ? qr{/(?:same|uncommitted)/x$} : qr{/same/x$}, '... and a call of another session does not use it before the commit');
    $pool{owner}->query_safe('BEGIN');
    $pool{owner}->query_safe("ALTER DATABASE postgres SET app.settings.api_url = '$url/rolled-back'");
    $pool{owner}->query_safe('ROLLBACK');
    all_go_to({ all => '/uncommitted' }, 'a change that was rolled back has no effect');

    # A transaction that otherwise sees the database as it was when the transaction began.
    $pool{web}->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
    $pool{web}->query_safe('SELECT count(*) FROM pg_class');
    set('DATABASE postgres', '/newer');
    my $id = $pool{web}->query_safe("SELECT invoke_cron_endpoint('/x')");
    $pool{web}->query_safe('COMMIT');
    is(($transport eq 'builtin' ? $node->finished('postgres', $id) : $node->invocation('postgres', $id))->{url}, "$url/newer/x",
        "$transport: a call in a REPEATABLE READ transaction uses the newest value");

    $node->safe_psql('postgres', "DELETE FROM vault.secrets; ALTER DATABASE postgres SET app.settings.api_url = '$url/database'");
}

# With the builtin transport the values apply when the call is sent; with pg_net, when it is made. Both change while calls are
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = builtin; ALTER DATABASE postgres SET app.settings.api_url = '$url'");
$node->block_the_wire('postgres', $receiver);
my $later = $node->call('postgres', '/later');
is(scalar(grep { $_->{bearer} ne 'match' } $receiver->requests), 0, 'every request so far carries the right secret');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url/after', 'quite another secret')");
$receiver->release;
fields_are($node->finished('postgres', $later), { url => "$url/after/later" }, 'a queued call follows configure()');
isnt(($receiver->requests('/after/later'))[0]{bearer}, 'match', '... and carries the new secret');
fields_are($node->one_row('postgres', "SELECT url, headers ->> 'Authorization' AS bearer FROM net.http_request_queue ORDER BY id DESC LIMIT 1"),
    { url => "$url/newer/x", bearer => 'Bearer the secret of the pool' }, 'a request that pg_net already has keeps the old values');
$_->quit for values %pool;
$node->log_is_sane;
done_testing();
