# harvest() hands many calls to pg_net. An error of one call ends in that call's row, and the others are sent. A lock is
# temporary: the call stays due, and its row says what it waits for.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Editions;

my $node = Wee5Cron::Editions->start_on_pg_net('main', api_url => 'https://app.example.com', secret => 'the secret');

# Calls that wait for a distant retry, and then all become due for one harvest.
sub retrying {
    my (@paths) = @_;
    my %call;
    for my $path (@paths) {
        $node->policy('postgres', $path, retry_delays => '{10min}');
        $call{$path} = $node->call('postgres', $path);
        $node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO net._http_response (id, error_msg) SELECT request_id, 'Couldn''t connect to server' FROM wee5_cron.pg_net_request WHERE invocation_id = $call{$path};
DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request b WHERE q.id = b.request_id AND b.invocation_id = $call{$path};
COMMIT;
SQL
        $node->invocation_when('postgres', $call{$path}, "status = 'retrying'");
    }
    return %call;
}
sub make_due {
    my (%call) = @_;
    my $ids = join ', ', values %call;
    $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id IN ($ids); SELECT wee5_cron.harvest()");
    return;
}
sub is_handed_over {
    my ($id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    fields_are($node->invocation_when('postgres', $id, 'next_attempt_at IS NULL'), { status => 'retrying', attempts => 1, finished_at => undef }, $name);
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id = $id"), 1, '... and pg_net has its request');
    return;
}

# An unexpected class of error: pg_net's own table refuses the row.
my %call = retrying('/before', '/refused', '/behind');
$node->as_superuser('postgres', q{ALTER TABLE net.http_request_queue ADD CONSTRAINT no_refused CHECK (url NOT LIKE '%/refused')});
make_due(%call);
fields_are($node->finished('postgres', $call{'/refused'}), { status => 'failed', reason => 'config', attempts => 1, next_attempt_at => undef, error => qr/no_refused/ },
    'a call that pg_net refuses fails, and its row says why');
is($node->safe_psql('postgres', q{SELECT failures FROM wee5_cron.trouble WHERE name = '/refused'}), 1, '... and it counts as a failure of its path');
is_handed_over($call{$_}, "the call $_ is handed over") for '/before', '/behind';
$node->as_superuser('postgres', 'ALTER TABLE net.http_request_queue DROP CONSTRAINT no_refused');

# A row that cannot even record its error.
%call = retrying('/first', '/unwritable', '/last');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE division_by_zero; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW
  WHEN (NEW.endpoint_path = '/unwritable' AND NEW.next_attempt_at IS NULL) EXECUTE FUNCTION refuse();
SQL
make_due(%call);
is_handed_over($call{$_}, "while another row cannot be written, $_ is handed over") for '/first', '/last';
fields_are($node->invocation('postgres', $call{'/unwritable'}), { status => 'retrying', attempts => 1 }, '... and that row is unchanged');
$node->safe_psql('postgres', 'DROP TRIGGER refuse ON wee5_cron.invocation; SELECT wee5_cron.harvest()');
is_handed_over($call{'/unwritable'}, '... and its call is handed over once it can be written');

# An answer that cannot be recorded does not stop other answers.
$node->policy('postgres', $_, max_attempts => 1) for '/answered', '/unrecordable', '/also-answered';
%call = map { $_ => $node->call('postgres', $_) } '/answered', '/unrecordable', '/also-answered';
$node->safe_psql('postgres', <<'SQL');
CREATE TRIGGER refuse BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW
  WHEN (NEW.endpoint_path = '/unrecordable') EXECUTE FUNCTION refuse();
BEGIN;
INSERT INTO net._http_response (id, status_code)
SELECT b.request_id, 200 FROM wee5_cron.pg_net_request b JOIN wee5_cron.invocation i ON i.id = b.invocation_id
WHERE i.endpoint_path IN ('/answered', '/unrecordable', '/also-answered');
DELETE FROM net.http_request_queue q USING net._http_response r WHERE r.id = q.id;
COMMIT;
SQL
is($node->finished('postgres', $call{$_})->{status}, 'succeeded', "while another row cannot be written, the answer to $_ is recorded") for '/answered', '/also-answered';
is($node->invocation('postgres', $call{'/unrecordable'})->{status}, 'queued', '... and that row is unchanged');
$node->safe_psql('postgres', 'DROP TRIGGER refuse ON wee5_cron.invocation');
is($node->finished('postgres', $call{'/unrecordable'})->{status}, 'succeeded', '... and its answer is recorded once it can be written');

# An attempt that already exists, whatever its origin.
%call = map { $_ => $node->call('postgres', $_) } '/attempted', '/next-to-it';
$node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO wee5_cron.attempt (invocation_id, attempt, reason) VALUES ($call{'/attempted'}, 1, 'lost');
INSERT INTO net._http_response (id, status_code)
SELECT b.request_id, 200 FROM wee5_cron.pg_net_request b WHERE b.invocation_id IN ($call{'/attempted'}, $call{'/next-to-it'});
DELETE FROM net.http_request_queue q USING net._http_response r WHERE r.id = q.id;
COMMIT;
SQL
is($node->finished('postgres', $call{$_})->{status}, 'succeeded', "with an attempt that already exists, the answer to $_ is recorded") for '/attempted', '/next-to-it';

# A lock is not a failure of the call.
%call = retrying('/locked');
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE net.http_request_queue IN SHARE MODE');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $call{'/locked'}");
$node->invocation_when('postgres', $call{'/locked'}, "error ~ 'lock'");
fields_are($node->invocation('postgres', $call{'/locked'}), { status => 'retrying', finished_at => undef, error => qr/lock timeout/ }, "while pg_net's queue is locked a call stays due, and its row names the lock");
$session->query_safe('COMMIT');
$session->quit;
is_handed_over($call{'/locked'}, '... and it is handed over when the lock is released');

$node->log_is_sane;
done_testing();
