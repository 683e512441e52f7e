# A cluster of servers that Patroni starts, watches and promotes, with an etcd of its own. For Patroni 3 and 4.
#
#   my $cluster = Wee5Cron::Patroni->start(qw(a b));     # the first one leads, the second one is its synchronous standby
#   my $leader = $cluster->node('a');                    # a Wee5Cron::Node
#   $cluster->kill9('a');
#   $cluster->wait_until_leads('b');
package Wee5Cron::Patroni;

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);
use Wee5Cron::Node;
use Wee5Cron::Process;

# A Debian package puts it here, outside the PATH of the tests.
my %program = map { my $name = $_; $name => (grep { -x } map { "$_/$name" } qw(/usr/bin /usr/local/bin))[0] } qw(patroni patronictl etcd);

my @clusters;

# The programs that are not installed.
sub missing_programs {
    return grep { !defined $program{$_} } sort keys %program;
}

sub start {
    my ($class, @names) = @_;
    my $self = bless { members => {}, directory => PostgreSQL::Test::Utils::tempdir('patroni') }, $class;
    push @clusters, $self;
    $self->_start_etcd;
    for my $name (@names) {
        my $node = Wee5Cron::Node->new($name);
        $self->{members}{$name} = { node => $node, api => PostgreSQL::Test::Cluster::get_free_port(), file => "$self->{directory}/$name.yml" };
        append_to_file($self->{members}{$name}{file}, $self->_configuration($name));
        $self->_start_patroni($name);
        $name eq $names[0] ? $self->wait_until_leads($name) : $self->wait_until_synchronous($name);
    }
    return $self;
}

sub node {
    my ($self, $name) = @_;
    return $self->{members}{$name}{node};
}

sub _start_etcd {
    my ($self) = @_;
    my ($client, $peer) = map { 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
    ($self->{etcd}) = $client =~ m{([^/]+)\z};
    $self->{etcd_process} = Wee5Cron::Process->start(
        command => [
            $program{etcd},
            '--data-dir', "$self->{directory}/etcd", '--listen-client-urls', $client, '--advertise-client-urls', $client,
            '--listen-peer-urls', $peer, '--initial-advertise-peer-urls', $peer, '--initial-cluster', "default=$peer" ],
        log   => "$PostgreSQL::Test::Utils::log_path/etcd.log",
        until => qr/\A/);
    return;
}

sub _start_patroni {
    my ($self, $name) = @_;
    my $member = $self->{members}{$name};
    $member->{patroni} = Wee5Cron::Process->start(
        command => [ $program{patroni}, $member->{file} ],
        log     => $member->{node}->logfile,
        until   => qr/\A/);
    return;
}

# A leader that dies is replaced at once. One whose Patroni dies, too, is replaced when its 20 seconds are over.
sub _configuration {
    my ($self, $name) = @_;
    my ($node, $api) = @{ $self->{members}{$name} }{qw(node api)};
    my ($bin) = map { my $dir = `pg_config --bindir`; chomp $dir; $dir } 1;
    my $user = getpwuid $>;
    my ($port, $socket, $data) = ($node->port, $node->host, $node->data_dir);
    return <<"YAML";
scope: wee5
name: $name
restapi: {listen: "127.0.0.1:$api", connect_address: "127.0.0.1:$api"}
etcd3: {host: "$self->{etcd}"}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 5
    primary_start_timeout: 0
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters:
        max_worker_processes: 16
        max_connections: 50
        wal_log_hints: "on"
  initdb: [{encoding: UTF8}, {locale: C}, {auth: trust}, no-sync]
postgresql:
  listen: "127.0.0.1:$port"
  connect_address: "127.0.0.1:$port"
  use_unix_socket: true
  data_dir: "$data"
  bin_dir: "$bin"
  pgpass: "$self->{directory}/$name.pgpass"
  authentication:
    superuser: {username: "$user"}
    replication: {username: replicator}
  pg_hba:
    - local all all trust
    - host all all 127.0.0.1/32 trust
    - host replication replicator 127.0.0.1/32 trust
  parameters:
    unix_socket_directories: "$socket"
    fsync: "off"
    shared_preload_libraries: pg_cron,wee5_cron
    cron.database_name: postgres
    cron.use_background_workers: "on"
    wee5_cron.default_jobs: "off"
    wee5_cron.max_in_flight: 200
YAML
}

# The names of the member's server in Patroni's words: { a => 'leader', b => 'sync_standby' }.
sub roles {
    my ($self) = @_;
    my $file = (sort map { $_->{file} } values %{ $self->{members} })[0];
    my $list = `$program{patronictl} -c $file list --format json 2>/dev/null`;
    return {} if $?;
    return { map { $_->{Member} => lc($_->{Role} =~ s/ /_/gr) . ($_->{State} =~ /^(?:running|streaming)$/ ? '' : " $_->{State}") }
          @{ JSON::PP->new->decode($list) } };
}

sub _wait_until {
    my ($self, $what, $reached) = @_;
    my $until = time + $PostgreSQL::Test::Utils::timeout_default;
    until ($reached->()) {
        die "$what did not come: " . JSON::PP->new->encode($self->roles) . "\n" if time > $until;
        usleep(200_000);
    }
    return;
}

sub _answers {
    my ($self, $name, $query) = @_;
    my ($status, $answer) = $self->node($name)->psql('postgres', $query);
    return $status == 0 ? $answer : '';
}

# Patroni says so, and the server takes writes.
sub wait_until_leads {
    my ($self, $name) = @_;
    $self->_wait_until("$name as the leader",
        sub { $self->_answers($name, 'SELECT NOT pg_is_in_recovery()') eq 't' && ($self->roles->{$name} // '') eq 'leader' });
    return;
}

# Each commit of the leader waits for this member.
sub wait_until_synchronous {
    my ($self, $name) = @_;
    $self->_wait_until("$name as the synchronous standby", sub {
        my $roles = $self->roles;
        my ($leader) = grep { $roles->{$_} eq 'leader' } keys %$roles;
        return defined $leader && ($roles->{$name} // '') eq 'sync_standby'
          && $self->_answers($leader, "SELECT sync_state FROM pg_stat_replication WHERE application_name = '$name'") eq 'sync';
    });
    return;
}

sub kill9 {
    my ($self, $name) = @_;
    my ($pid) = slurp_file($self->node($name)->data_dir . '/postmaster.pid') =~ /\A(\d+)/;
    kill 'KILL', $pid;
    return;
}

# The process that watches the server, and the server: as if the machine were gone.
sub power_off {
    my ($self, $name) = @_;
    $self->{members}{$name}{patroni}->stop;
    return $self->kill9($name);
}

sub power_on {
    my ($self, $name) = @_;
    return $self->_start_patroni($name);
}

sub switch_over {
    my ($self, $from, $to) = @_;
    my $file = $self->{members}{$from}{file};
    my $output = `$program{patronictl} -c $file switchover wee5 --candidate $to --force 2>&1`;
    die "no switchover: $output\n" if $?;
    return;
}

END {
    local $?;
    for my $member (map { values %{ $_->{members} } } @clusters) {
        # First the process that would start the server again.
        $member->{patroni}->stop if $member->{patroni};
        my $file = $member->{node}->data_dir . '/postmaster.pid';
        next unless -e $file;
        my ($pid) = slurp_file($file) =~ /\A(\d+)/;
        kill 'QUIT', $pid if $pid;
    }
}

1;
