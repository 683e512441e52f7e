# A psql that is linked once and forked for each question: forked_program.c. It ends with the object.
package Wee5Cron::Psql;

use strict;
use warnings;

use Cwd qw(abs_path getcwd);
use File::Basename qw(basename dirname);
use File::Copy qw(move);
use POSIX ();
use PostgreSQL::Test::Utils;

my $source = abs_path(dirname(__FILE__) . '/../forked_program.c');

# The library for LD_PRELOAD, which all test files of a run share.
sub _library {
    my $library = "$PostgreSQL::Test::Utils::tmp_check/forked_program.so";
    if (!-e $library) {
        PostgreSQL::Test::Utils::system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$library.$$", $source, '-ldl');
        move("$library.$$", $library) or die "$library: $!";
    }
    return $library;
}

# Wee5Cron::Psql->link(program)
sub link {
    my ($class, $program) = @_;
    pipe(my $orders_read, my $orders)         or die "pipe: $!";
    pipe(my $answers,     my $answers_write)  or die "pipe: $!";
    my $library = _library();
    # A child that is ended before it has become psql must not end the test's servers.
    local $SIG{TERM} = 'DEFAULT';
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        $ENV{LD_PRELOAD} = $library;
        POSIX::dup2(fileno($orders_read),   0);
        POSIX::dup2(fileno($answers_write), 1);
        POSIX::_exit(127) unless exec {$program} 'psql';
    }
    close $orders_read;
    close $answers_write;
    # Of this process alone: others may run beside it.
    my $files = "$PostgreSQL::Test::Utils::tmp_check/" . basename($0, '.pl') . ".psql.$$";
    return bless { pid => $pid, owner => $$, program => $program, orders => $orders, answers => $answers, files => $files }, $class;
}

# A process that forked shares the pipes, and would read the answers of another one.
sub is_ours { my ($self) = @_; return $self->{owner} == $$ }

# Runs psql with these arguments, in the directory and environment of this process. Returns what $? would be, and its two outputs.
sub run {
    my ($self, $input, @arguments) = @_;
    my %file  = map { $_ => "$self->{files}.$_" } qw(in out err);
    open my $in, '>', $file{in} or die "$file{in}: $!";
    print {$in} $input;
    close $in or die "$file{in}: $!";
    my %environment = %ENV;
    delete $environment{LD_PRELOAD};
    my $order = join '', map { "$_\0" } getcwd(), @file{qw(in out err)}, 1 + @arguments, $self->{program}, @arguments,
      map { "$_=$environment{$_}" } keys %environment;
    utf8::encode($order) if utf8::is_utf8($order);
    $order = length($order) . "\n" . $order;
    my $written = 0;
    while ($written < length $order) {
        $written += syswrite($self->{orders}, $order, length($order) - $written, $written) // die "psql takes no order: $!";
    }
    my $answer = readline $self->{answers};
    die 'psql is gone' unless defined $answer;
    return ($answer + 0, map { PostgreSQL::Test::Utils::slurp_file($file{$_}) } qw(out err));
}

sub DESTROY {
    my ($self) = @_;
    return unless $self->is_ours;
    local ($?, $!, $@);
    close $self->{orders};
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    unlink map { "$self->{files}.$_" } qw(in out err);
    return;
}

1;
