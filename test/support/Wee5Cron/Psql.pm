# A psql that is linked once and forked for each call: forked_program.c. It ends with the object.
package Wee5Cron::Psql;

use strict;
use warnings;

use Cwd qw(abs_path getcwd);
use File::Basename qw(basename dirname);
use File::Copy qw(move);
use PostgreSQL::Test::Utils;

use Wee5Cron::Pipes qw(start_with_pipes);

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
    local $ENV{LD_PRELOAD} = _library();
    my $psql = start_with_pipes(['psql'], program => $program);
    # For this process only: others may run at the same time.
    my $files = "$PostgreSQL::Test::Utils::tmp_check/" . basename($0, '.pl') . ".psql.$$";
    return bless { %$psql, owner => $$, program => $program, files => $files }, $class;
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
        $written += syswrite($self->{input}, $order, length($order) - $written, $written) // die "psql takes no order: $!";
    }
    my $answer = readline $self->{output};
    die 'psql is gone' unless defined $answer;
    return ($answer + 0, map { PostgreSQL::Test::Utils::slurp_file($file{$_}) } qw(out err));
}

sub DESTROY {
    my ($self) = @_;
    return unless $self->is_ours;
    local ($?, $!, $@);
    close $self->{input};
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    unlink map { "$self->{files}.$_" } qw(in out err);
    return;
}

1;
