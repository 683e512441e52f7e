# The view metrics, and the files over it with the real programs of Debian: both exporters scrape a server, Prometheus scrapes
# them and evaluates the rules, and each query of the dashboard is run. None of them reveals a path, an address or a call.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Test;
use Wee5Cron::Process;

use HTTP::Tiny;
use JSON::PP;
use Time::HiRes qw(usleep);

my $packaging = "$FindBin::RealBin/../../packaging";
my $secret    = 'canary-of-the-metrics-4714';
my $receiver  = Wee5Cron::Receiver->start(secret => $secret);
my $node      = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
$node->wait_for_worker('postgres');
$node->safe_psql('postgres', q{CREATE ROLE cron_monitor LOGIN; SELECT wee5_cron.grant_to('cron_monitor', 'monitor'); CREATE ROLE neighbour LOGIN});
$node->as_superuser('postgres', 'GRANT USAGE ON SCHEMA cron TO neighbour');

# The name of one job contains everything that a label may have to escape.
my $odd = q{odd "name" \\ {x="y"} <b>#1</b>};
for ([ 'digest', '/digest' ], [ 'failing', '/status/500?token=query-canary' ], [ 'paused', '/paused' ], [ $odd, '/odd' ]) {
    my ($name, $path) = map { s/'/''/gr } @$_;
    $node->safe_psql('postgres', "SELECT wee5_cron.schedule('$name', '0 0 1 1 *', '$path')");
}
# Two jobs of the same name, and a job whose name looks like the jobid of a job without one.
$node->safe_psql('postgres', q{SELECT cron.schedule('digest', '0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/theirs'')')});
$node->psql_as('neighbour', 'postgres', q{SELECT cron.schedule('digest', '0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/theirs'')')});
my $unnamed = $node->safe_psql('postgres', q{SELECT cron.schedule('0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/unnamed'')')});
$node->safe_psql('postgres', qq{SELECT cron.schedule('#$unnamed', '0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/alike'')')});
$node->safe_psql('postgres', "SELECT wee5_cron.pause('paused', 'a note')");
$node->finished('postgres', $node->safe_psql('postgres', 'SELECT wee5_cron.run_now($$' . $odd . '$$)'));
$node->finished('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('failing')")) for 1 .. 3;

my @metrics = map { JSON::PP->new->utf8->decode($_) } split /\n/, $node->psql_as('cron_monitor', 'postgres', 'SELECT to_json(m) FROM wee5_cron.metrics m');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT FROM wee5_cron.metrics GROUP BY name, labels HAVING count(*) > 1) d'), 0, 'no two metrics have the same name and labels');
is(scalar(grep { !defined $_->{value} || $_->{type} !~ /^(gauge|counter)$/ || !$_->{help} || ($_->{name} =~ /_total$/) != ($_->{type} eq 'counter') } @metrics), 0, 'each metric has a value, a type and a help text; only counters end in _total');
my $text = JSON::PP->new->canonical->encode(\@metrics);
unlike($text, qr{/(status|digest|theirs|unnamed)|canary|127\.0\.0\.1|a note}, 'no metric contains a path, secret, address or note');

# The value of a metric whose labels include these.
sub value {
    my ($name, %labels) = @_;
    my @found = grep { my $metric = $_; $metric->{name} eq "wee5_cron_$name" && !grep { ($metric->{labels}{$_} // '') ne $labels{$_} } keys %labels } @metrics;
    return @found == 1 ? $found[0]{value} : @found;
}
my $owner = $node->safe_psql('postgres', 'SELECT current_user');
is(value(@$_), $_->[-1], "@$_[0 .. $#$_ - 1]") for map { [ @{ $_->[0] }, $_->[1] ] }
    [ [ 'job_failing', job => 'failing', owner => $owner ], 1 ], [ [ 'job_failing', job => $odd ], 0 ], [ [ 'job_late', job => 'failing' ], 0 ], [ [ 'job_consecutive_failures', job => 'failing' ], 3 ],
    [ [ 'job_paused', job => 'paused' ], 1 ], [ [ 'job_success_ratio', job => 'failing' ], 0 ], [ [ 'job_success_ratio', job => $odd ], 1 ], [ [ 'job_missed_runs_total', job => $odd ], 0 ], [ [ 'job_next_run_timestamp_seconds', job => 'paused' ], 0 ],
    [ [ 'job_last_success_timestamp_seconds', job => 'failing' ], 0 ], [ [ 'job_failing', job => 'digest', owner => 'neighbour' ], 0 ], [ [ 'job_failing', job => "#$unnamed" ], 0 ],
    [ [ 'calls_24h', status => 'failed' ], 3 ], [ [ 'calls_24h', status => 'succeeded' ], 1 ], [ [ 'calls_24h', status => 'queued' ], 0 ], [ [ 'armed' ], 1 ], [ [ 'enabled' ], 1 ], [ [ 'worker_up' ], 1 ],
    # The portable edition has no worker to count what it did.
    (map { my ($name, $value) = @$_; [ ["worker_$name"], $node->is_portable ? 0 : $value ] } [ sent_total => 4 ], [ succeeded_total => 1 ], [ failed_total => 3 ], [ in_flight => 0 ]),
    [ [ 'queue_length' ], 0 ], [ [ 'queue_age_seconds' ], 0 ], [ [ 'build_info', edition => $node->is_portable ? 'portable' : 'native' ], 1 ];
cmp_ok(abs(value('job_last_success_timestamp_seconds', job => $odd) - time), '<', 600, 'times are in seconds since 1970');
cmp_ok(value('job_duration_seconds', job => $odd, quantile => '0.95'), '<', 100, 'durations are in seconds');
my @documented = slurp_file("$FindBin::RealBin/../../docs/metrics.md") =~ /^\| `(wee5_cron_\w+)` \|/mg;
is_deeply([ sort keys %{ { map { $_->{name} => 1 } @metrics } } ], [ sort grep { !$node->is_portable || !/_worker_(?!up$)|_duration_/ } @documented ], 'docs/metrics.md lists each metric, and no other');

# CloudNativePG runs the queries of the same file in its own database, as pg_monitor.
my ($postgres_file, $cnpg_file) = map { slurp_file("$packaging/prometheus/$_") } 'postgres_exporter.yml', 'cloudnative-pg.yml';
my ($queries) = $postgres_file =~ /^(wee5_cron_job:.*)\z/ms;
my ($embedded) = $cnpg_file =~ /^  queries: \|\n(.*)\z/ms;
is($embedded =~ s/^    //mgr =~ s/^  primary: true\n  target_databases: \[app\]$/  master: true/mgr, $queries, 'the file for CloudNativePG has the same queries as the other');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('pg_monitor', 'monitor')");
for my $query ($queries =~ /^  query: \|\n((?:    .*\n)+)/mg) {
    is($node->error_of('postgres', "SET ROLE pg_monitor; SET default_transaction_read_only = on; $query", role => $node->is_portable ? 'supabase_admin' : undef), undef, 'as pg_monitor: ' . ($query =~ s/\s+/ /gr =~ s/^(.{60}).*/$1 .../r));
}

my @missing = grep { !-x "/usr/bin/$_" } qw(prometheus promtool prometheus-sql-exporter prometheus-postgres-exporter);
SKIP: {
    skip "not installed: @missing", 1 if @missing;
    my $directory = "$PostgreSQL::Test::Utils::log_path/362_metrics";
    mkdir $directory;
    my ($sql_port, $postgres_port, $prometheus_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;

    sub copy_file {
        my ($name, $from, %replaced) = @_;
        my $content = slurp_file("$packaging/prometheus/$from");
        for my $old (keys %replaced) { $content =~ s/\Q$old\E/$replaced{$old}/g or die "$from has no $old\n" }
        unlink "$directory/$name";
        append_to_file("$directory/$name", $content);
        return "$directory/$name";
    }

    sub start_program {
        my ($name, $env, @command) = @_;
        return Wee5Cron::Process->start(command => [ 'sh', '-c', 'echo started; exec "$0" "$@" >&2', @command ], env => $env, log => "$directory/$name.log", until => qr/started/);
    }

    # Repeats the request until its answer has what is looked for.
    sub ask {
        my ($url, $awaited) = @_;
        my ($http, $answer) = (HTTP::Tiny->new(timeout => 30));
        for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default) {
            $answer = $http->get($url);
            return $answer->{content} if $answer->{success} && $awaited->($answer->{content});
            usleep(100_000);
        }
        diag("$url: $answer->{status} " . substr $answer->{content}, 0, 2000);
        return '';
    }

    my $connection = 'host=' . $node->host . '&port=' . $node->port . '&sslmode=disable';
    my $sql_file = copy_file('sql_exporter.yml', 'sql_exporter.yml', '@/app?host=/var/run/postgresql&sslmode=disable' => "@/postgres?$connection", 'interval: 30s' => 'interval: 1s');
    my $sql_exporter = start_program('sql_exporter', {}, 'prometheus-sql-exporter', "-config.file=$sql_file", "-web.listen-address=127.0.0.1:$sql_port");
    my $postgres_exporter = start_program('postgres_exporter', { DATA_SOURCE_NAME => "postgresql://cron_monitor@/postgres?$connection" },
        'prometheus-postgres-exporter', "--extend.query-path=$packaging/prometheus/postgres_exporter.yml", '--disable-default-metrics', '--disable-settings-metrics', "--web.listen-address=127.0.0.1:$postgres_port");
    my $scraped = ask("http://127.0.0.1:$postgres_port/metrics", sub { $_[0] =~ /^wee5_cron_job_failing/m });
    my %types = $scraped =~ /^# TYPE (wee5_cron_\w+) (\w+)$/mg;
    is_deeply(\%types, { map { $_->{name} => $_->{type} } @metrics }, 'postgres_exporter serves each metric with its type');
    unlike($scraped, qr{/(status|digest|theirs|unnamed)|canary}, '... and no path');
    is_deeply([ grep { $_ ne '0' } $scraped =~ /^pg_exporter_\w*error(?:\{.*\})? (\S+)$/mg ], [], '... and no error');
    my $generic = ask("http://127.0.0.1:$sql_port/metrics", sub { $_[0] =~ /^sql_wee5_cron\{/m });
    is(scalar(() = $generic =~ /^sql_wee5_cron\{/mg), scalar @metrics, 'sql_exporter serves each row');

    copy_file('wee5_cron.rules.yml', 'wee5_cron.rules.yml');
    my $prometheus_file = copy_file('prometheus.yml', 'prometheus.yml', 'localhost:9237' => "127.0.0.1:$sql_port", 'localhost:9187' => "127.0.0.1:$postgres_port", 'scrape_interval: 30s' => 'scrape_interval: 1s');
    append_to_file($prometheus_file, "global: {evaluation_interval: 1s}\n");
    my $prometheus = start_program('prometheus', {}, 'prometheus', "--config.file=$prometheus_file", "--storage.tsdb.path=$directory/data", "--web.listen-address=127.0.0.1:$prometheus_port");
    my $json = JSON::PP->new->utf8;

    sub prometheus {
        my ($what, %parameters) = @_;
        my $query = HTTP::Tiny->new->www_form_urlencode(\%parameters);
        return "http://127.0.0.1:$prometheus_port/api/v1/$what?$query";
    }

    # Each exporter's series in Prometheus: the names of the view, and the same values.
    for my $exporter (qw(wee5_cron wee5_cron_postgres)) {
        my $answer = ask(prometheus('query', query => "wee5_cron_job_consecutive_failures{job=\"$exporter\"}"), sub { @{ $json->decode($_[0])->{data}{result} } });
        my %failures = map { ("$_->{metric}{cron_job}|$_->{metric}{owner}" => $_->{value}[1]) } @{ $json->decode($answer)->{data}{result} };
        is_deeply(\%failures, { map { ("$_->{labels}{job}|$_->{labels}{owner}" => $_->{value}) } grep { $_->{name} eq 'wee5_cron_job_consecutive_failures' } @metrics },
            "$exporter: each job has its series in Prometheus");
        my $names = $json->decode(ask(prometheus('series', 'match[]' => "{__name__=~\"wee5_cron_.+\", job=\"$exporter\"}"), sub { 1 }))->{data};
        is_deeply([ sort keys %{ { map { $_->{__name__} => 1 } @$names } } ], [ sort keys %types ], '... under the names of the view');
        is_deeply([ grep { !/^(__name__|job|instance|cron_job|owner|quantile|status|version|edition|database|server)$/ } map { keys %$_ } @$names ], [], '... with their labels, and no others');
    }
    my $alerts = $json->decode(ask(prometheus('alerts'), sub { $_[0] =~ /"state":"firing"/ }))->{data}{alerts};
    is_deeply([ sort keys %{ { map { ("$_->{labels}{alertname} $_->{labels}{cron_job}" => 1) } grep { $_->{state} eq 'firing' } @$alerts } } ], ['CronJobFailing failing'], 'the rules fire for the failing job and nothing else');

    my $dashboard = $json->decode(slurp_file("$packaging/grafana/wee5_cron.json"));
    for my $panel (@{ $dashboard->{panels} }) {
        for my $target (@{ $panel->{targets} }) {
            my $expression = $target->{expr} =~ s/\$instance/.*/gr =~ s/\$__rate_interval/1m/gr;
            my $may_be_empty = $expression =~ /increase|rate/ || $node->is_portable && $expression =~ /_worker_(?!up)|_duration_/;
            my $result = $json->decode(ask(prometheus('query', query => $expression), sub { @{ $json->decode($_[0])->{data}{result} } || $may_be_empty }));
            is($result->{status}, 'success', "the dashboard's panel $panel->{title}: $target->{expr}");
        }
    }
    my ($variable) = grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} };
    like($variable->{definition}, qr/^label_values\(wee5_cron_worker_up, instance\)$/, "the dashboard's variable uses an existing metric");

    $_->stop for $prometheus, $sql_exporter, $postgres_exporter;
    for my $check ([ 'check', 'rules', 'wee5_cron.rules.yml' ], [ 'test', 'rules', 'wee5_cron.rules.test.yml' ], [ 'check', 'config', 'prometheus.yml' ]) {
        my ($stdout, $stderr) = PostgreSQL::Test::Utils::run_command([ 'promtool', @$check[ 0, 1 ], "$packaging/prometheus/$check->[2]" ]);
        like($stdout . $stderr, qr/SUCCESS/, "promtool @$check");
        unlike($stdout . $stderr, qr/FAILED/, '... and reports no failure');
    }
}

$node->log_is_sane;
done_testing();
