"""English words that make no topic: what speech is full of and no concept is named by.

Words are compared by stem, so one form stands for all of its inflections. The lists are for speech: they hold
what is said in every kind of meeting and tells none of them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cofio.text.terms import stem


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _stems(words: Iterable[str]) -> frozenset[str]:
    return frozenset(s for word in words if (s := stem(word)))


_DISCOURSE: Final = _words(
    """
    yeah yes yup nope nah hey hi hello bye goodbye wow huh hm hmm mmm mmhmm aha alright okay ok right
    well anyway anyways actually basically literally really truly simply totally absolutely definitely
    probably possibly certainly obviously exactly indeed maybe perhaps hopefully honestly frankly
    apparently essentially generally usually normally typically mostly mainly particularly especially
    specifically currently recently eventually finally afterwards meanwhile moreover however although
    though therefore thus hence otherwise instead besides whereas unless whether despite except etc
    please thanks thank sorry welcome cheers congrats congratulations hah haha lol god gosh damn guess
    suppose kinda sorta gotta lemme dunno cos cause cuz ya yep uh um erm mhm ooh whoa oops yay morning
    afternoon evening tonight today tomorrow yesterday hooray true false sure whatever whenever wherever
    whoever regarding via per versus self non multi de e.g i.e cetera vice versa yourself myself
    themself ourself themselves everyone everybody someone somebody anyone anybody nobody none
    everything something anything nothing somewhere anywhere everywhere nowhere somehow sometime
    sometimes ever never always often seldom already still yet soon again now later early late ago once
    twice also too just even only quite rather pretty fairly almost nearly hardly barely enough together
    apart away back forth forward ahead along around across behind beyond within without onto upon
    toward towards among amongst inside outside near next last previous first second third former latter
    half whole entire several many much few little less least more most another other else same
    different similar various certain particular such own extra every each additional overall altogether
    exact precise clear thing stuff lot bit bunch kind sort way guy folk since either neither kay 'kay
    voila whoops excuse pardon bah duh hmpf online live abroad might earlier etcetera middle anymore anytime
    someday everytime anyhow
    likewise nevertheless nonetheless furthermore whereby thereby
    must others
    """
)

_VERBS: Final = _words(
    """
    accept achieve act add admit affect afford agree aim allow announce answer appear apply appreciate
    argue arrive ask assume attempt avoid base become begin believe belong bet bother break bring
    brought build built buy bought call came cancel care carry catch caught cause change check choose
    chose chosen clarify come compare complain complete concern confirm confuse consider contain
    continue convince cover create cut deal decide define deliver depend describe deserve develop differ
    disagree disappear discover do doing done draw drawn drop eat enable encourage end enjoy ensure
    enter exist expect explain express face fail fall feel fell felt figure fill find finish fit fix
    follow forget forgot form found gather gave get getting give given go goes gone got gotten grab grow
    guarantee had handle hang happen hate hear heard help hit hold hope identify ignore imagine
    implement imply improve include increase indicate intend introduce invite involve join jump keep
    kept kick kill knew know known lead leave left let lie like listen live look looking lose lost love
    made make making manage matter mean meant meet mention met mind miss move moving need needed note
    notice occur offer open order ought pay pick place play point prefer prepare present pretend prevent
    proceed produce promise propose protect prove provide pull push put raise ran reach react read
    realise realize receive recognise recognize recommend record reduce refer reflect reject relate
    remain remember remind remove repeat replace reply represent request require resolve respond return
    run said sat save saw say see seem seen select send sense sent serve set shall share should show
    shown sit sort sound speak specify spend spent spoke stand start state stay stick stop struggle
    stuck submit succeed suggest support suppose suspect switch take taken taking talk tell tend thank
    think thinking thought threw throw told took touch treat tried try turn understand understood use
    used using wait walk want wanted watch went wish wonder work write written wrote wondering worry
    gonna wanna hafta trying highlight double-check echo circle chime reiterate
    """
)

_QUALITIES: Final = _words(
    """
    able afraid amazing available awesome awful bad beautiful best better big bigger biggest bit brief
    busy careful close closer comfortable common complex complicated cool correct crazy current cute
    dear decent difficult direct due easier easiest easy equal excellent excited exciting expensive
    extreme fair familiar fantastic fast favorite favourite final fine free fresh full fun funny general
    glad good grateful great guilty happy hard harder helpful hi high higher highest huge ideal
    important impossible incredible individual interested interesting kind large larger likely long
    longer lovely low lower lucky main major maximum minimal minimum minor necessary neat new nice
    normal obvious odd ok old older only original perfect personal plenty plus poor possible practical
    proud proper quick ready real reasonable regular related relevant responsible rough sad safe
    sensible separate serious short significant silly simple single slight slow small smaller sorry
    special specific standard straight strange strong stronger stupid successful suitable super supposed
    terrible tight tiny tough tricky typical ugly unclear unique unusual useful usual valid very weird
    wide willing wonderful worse worst worth wrong young younger thankful wild rare inspiring sweet
    thoughtful supportive stoked thrilled pleased passionate rewarding fulfilling tired relaxing
    peaceful meaningful intense sick mad angry ambitious cheap far fancy reliable independent universal
    automatic active passive cozy cosy hilarious magical fashionable trendy adequate redundant arbitrary
    random artificial crucial essential vital natural physical positive negative legit identical
    parallel local global internal external initial temporary permanent urgent optional formal informal
    empty wet dry hot cold warm loud quiet dark bright smart clever dumb tasty delicious adorable nasty
    messy handy sexy bold cheaper super-easy manual digital theoretical potential relative absolute
    hungry lazy sleepy alive dead asleep awake
    """
)

# What counts or dates a thing but is none. Weekdays and months belong to the date of a meeting.
_MEASURES: Final = _words(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
    thousand million billion dozen couple percent pound euro dollar cent monday tuesday wednesday
    thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun january february april
    june july august september october november december jan feb apr jun jul aug sep sept oct nov dec
    second minute hour day week weekend month year o'clock am pm utc gmt est cet a.m p.m midnight noon
    """
)

# Nouns too general to stand alone; in a phrase they may: "point" is nothing, "access point" is.
_GENERAL: Final = _words(
    """
    ability action actual advantage agenda agreement amount angle answer anybody area argument aspect
    attention audience back background basis beginning behavior behaviour benefit board bottom bunch
    call case chance change chapter chat choice class colleague combination comment community company
    concept concern conclusion condition confusion consensus consideration content context control
    conversation copy core corner cost count couple course crowd data deal decision definition degree
    detail difference difficulty direction discussion distance document door doubt drawing drive edge
    effect effort element email end energy entry environment event evidence example exception existence
    expectation experience explanation extent eye fact factor fault fan feature feedback feeling field
    figure file floor folk forward frame friend front function future gain game general goal group guy
    guys hand head heart help hint history hole hope house idea image impact impression individual
    information input instance intention interest introduction issue item job joke journey kid kind
    knowledge lack language left length lesson letter level life light limit line link list load
    location look lot luck man mark market material matter meaning meeting member memory mention mess
    message method mind mistake model moment money mood name nature need news note nothing notion number
    object objection occasion offer one opinion opportunity option order outcome output overview page
    pair paper paragraph parent part participant parties party past path patience people performance
    period person perspective phase phone photo phrase pic picture piece place plan point position
    possibility power practice presence present presentation pressure price principle priority problem
    procedure process product program programme progress project proposal purpose quality quantity
    question quote range rate reaction reality reason recommendation record reference regard relation
    relationship release reminder reply report request requirement research respect response
    responsibility rest result risk role room round row rule run sake sample scale scenario schedule
    school scope screen section selection sense sentence sequence series service session set setting
    setup shape share sheet shot shout show side sign signal situation size slide slot solution sort
    source space spec speech speed spot staff stage standpoint start state statement status step stop
    story strategy structure study stuff style subject success suggestion summary surprise system table
    talk target task team tendency term test text thing thinking thought thread time tip title today
    tool top topic total touch track training trick trouble truth turn type understanding unit update
    usage use user vacation value variety version video view visit voice vote way website weather while
    wife window woman women word work world write year chair minister committee honourable gentleman
    lady mr mrs ms dr sir madam miss professor vibe vibes blast adventure adventures memories dream
    dreams passion passions joy happiness tummy thanks pleasure courage gratitude motivation inspiration
    growth confidence fun
    approach favs average sub learn adjust selling sell interact correspond delay deploy verify rotate trade
    """
)

# Words whose stem the lists above hold, but which may be a part of a name: "digital", as in "digits".
_NOUNS_AFTER_ALL: Final = _words(
    """
    control play support record design state order answer share form cover standard individual present
    note build set open place point work sound mind call test run move touch switch act request drop
    base product digital local initial potential natural manual global internal external artificial
    physical positive negative relative universal parallel random active automatic independent extension
    connection
    """
)

_LY_NOUNS: Final = _words(
    """
    ally anomaly apply assembly belly billy bully butterfly comply emily family fly gully holly homily
    imply italy jelly july kelly lily molly monopoly multiply polly rally rely reply sally supply tally
    trolley
    """
)

# Stems that no phrase may hold, and stems that a phrase may hold but not consist of.
BLOCKED_STEMS: Final = _stems((*_DISCOURSE, *_VERBS, *_QUALITIES, *_MEASURES)) - _stems(_NOUNS_AFTER_ALL)
WEAK_STEMS: Final = (
    _stems((*_GENERAL, *_VERBS, *_QUALITIES)) - BLOCKED_STEMS - _stems(("digit", "connection"))
)
# Lower-case spellings of these are verbs or times; capitalised they name no thing either.
CALENDAR_WORDS: Final = frozenset((*_MEASURES, "march", "may"))

# Sounds, not words: what stands around them stands together.
PAUSES: Final = frozenset(
    _words(
        """
        um uh uhm er erm hmm mm mhm ah oh eh
        """
    )
)
# What a noun, a verb and an adjective follow, by which `phrases` tells them apart.
NOUN_BEFORE: Final = frozenset(
    _words(
        """
        the a an this that these those my your our their his her its of some any no every each another
        with for in on about per by from into between and or
        """
    )
)
VERB_BEFORE: Final = frozenset(
    _words(
        """
        to i we you they he she it who will would can could should might must may let's don't didn't
        doesn't not i'll we'll you'll they'll he'll she'll i'd we'd you'd i've we've you've can't won't
        couldn't wouldn't please gonna just also never
        """
    )
)
QUALITY_BEFORE: Final = frozenset(
    _words(
        """
        very so too really more most less is are was were be been being it's that's they're we're i'm
        you're he's she's quite pretty not how as feel feels look looks sound sounds get gets got seem
        seems super fairly
        """
    )
)


def is_adverb(word: str) -> bool:
    """Whether a lower-case word looks like an adverb in -ly."""
    return len(word) > 4 and word.endswith("ly") and word not in _LY_NOUNS
