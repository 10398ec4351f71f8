//! Features of languages: their most common words, their endings, and their letters beyond a to z.

/// Words in almost every text, by ISO 639-1 code. Elided words keep their apostrophe.
#[rustfmt::skip]
pub(super) const WORDS: [(&str, &str); 10] = [
    ("en", "a an the and or but of to in on at by for from with without about into over under after before \
        between through during is are was were be been being am do does did done have has had having \
        can could will would shall should may might must not no yes it its he she they them their his \
        her we us our ours you your yours i me my myself this that these those there here what which \
        who whom whose when where why how if then than as so because while although also just only \
        some any all each every both few more most much many other another such very too up out off \
        one two three first make makes get tell write explain give let use help i'm i've i'll don't \
        doesn't didn't can't won't isn't aren't wasn't it's that's what's there's let's you're we're \
        they're people time good like"),
    ("de", "der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine keinen \
        ist sind war waren sein wird werden wurde hat haben hatte habe kann können konnte muss müssen \
        soll sollte will darf ich du er sie es wir ihr mich mir dich dir uns euch ihm ihn ihnen mein \
        meine meiner meinem meinen dein sich mit von vom zu zum zur auf für in im an am aus bei beim \
        nach über unter vor durch um gegen ohne bis als wie wenn dass weil ob denn so auch noch nur \
        schon sehr mehr man was wer wo wann warum wieso welche welcher welches dieser diese dieses \
        jeder jede hier da dann doch bitte gibt macht viel viele alle alles gut eigentlich zwischen \
        kurzen wurden diesem einfach immer seine ihre ihrer"),
    ("es", "el la los las un una unos unas y e o u pero de del al a en con por para sin sobre entre hasta \
        desde que qué quién quien cómo como cuándo cuando dónde donde cuál cuáles cuánto cuántos \
        cuántas es son era fue ser está están estar hay ha han he haber tiene tienen tengo tener puede \
        pueden puedo poder hace hacer no sí ni se su sus me mi mis te tu tus lo le les nos nosotros yo \
        él ella ellos ellas usted más muy también ya si porque este esta esto estos estas ese esa eso \
        cada todo todos toda todas otro otra mismo bien mejor vez quiero necesito escribe dame según \
        así aunque pues antes después día"),
    ("fr", "le la les l' un une des du de d' et ou mais où ne pas n' plus que qu' qui quoi quel quelle \
        quels quelles comment quand pourquoi combien est sont était être c' ce cet cette ces ça il \
        elle ils elles on nous vous je j' tu me moi te toi se s' m' t' son sa ses mon ma mes ton ta \
        tes leur leurs notre nos votre vos à au aux en dans sur sous avec sans pour par entre chez \
        vers a ont avoir avait fait faire peut peuvent doit très aussi bien tout tous toute toutes si \
        y comme donc car même après avant lui dont puis alors ici rien quelques peu deux écris \
        explique"),
    ("it", "il lo la i gli le l' un uno una un' e ed o ma di del dello della dell' dei degli delle a al \
        allo alla all' ai agli alle da dal dalla dall' dai dalle in nel nella nell' nei nelle con su \
        sul sulla sulle per tra fra non che chi cosa cos' com' dov' come quando dove perché quale \
        quali quanto quanti è sono era essere ha hanno ho avere può possono posso si mi ti ci vi ne \
        mio mia miei mie tuo tua suo sua suoi loro questo questa questi queste quest' quello quella \
        anche più molto se sì lei lui noi io tu c' d' s' fare fa ogni tutto tutti tutte così dopo \
        prima senza bene due sei già ad stato cui"),
    ("pt", "o a os as um uma uns umas e ou mas de do da dos das ao à aos às em no na nos nas num numa com \
        por pelo pela pelos pelas para sem sobre entre até que quem como quando onde qual quais quanto \
        quantos porque é são era foi ser está estão estar há tem têm ter tenho pode podem posso poder \
        faz fazer não sim se seu sua seus suas me meu minha meus minhas te eu ele ela eles elas nós \
        você vocês lhe isso isto este esta esse essa mais muito muita muitos também já cada todo todos \
        toda todas outro outra mesmo bem só então depois assim dele dela deles foram escreva explique"),
    ("nl", "de het een en of maar van voor met op in aan bij uit naar over onder door om tot zonder tegen \
        tussen is zijn was waren ben bent wordt worden werd heeft hebben had heb kan kunnen moet \
        moeten zal zullen zou wil ik je jij hij zij ze we wij jullie u hem haar hun mij me mijn jouw \
        ons onze dat die dit deze er hier daar niet geen ook nog wel al als dan wat wie waar wanneer \
        waarom hoe welke veel meer zo te toe na deel groep omdat hoeveel goed mensen andere eerst \
        alleen"),
    ("pl", "i w z na do od po za o u a przez dla bez pod nad przed przy między nie tak jest są był była \
        było być ma mają mieć może można trzeba się to ten ta te tego tej tym tych co kto jak gdzie \
        kiedy dlaczego czy który która które ile ale lub oraz że żeby bo jeśli gdy jego jej ich mój \
        moja twój swój mnie mi ja ty on ona oni my wy już jeszcze tylko bardzo też więc ze we aby \
        ponieważ by"),
    ("sv", "och eller men att en ett den det de dem av till från på i för med utan om under över mellan \
        efter före är var vara varit blir bli har hade ha kan kunde ska skulle måste får inte ingen \
        inga jag du han hon vi ni man mig dig sig oss min mitt mina din sin sitt sina deras som vad \
        vem när varför hur vilken vilket så också bara mycket mer mest än här där detta denna dessa \
        alla många hela sedan eftersom"),
    ("da", "og eller men at en et den det de dem af til fra på i for med uden om under over mellem efter \
        før er var være været bliver blev har havde have kan kunne skal skulle må får ikke ingen intet \
        jeg du han hun vi man mig dig sig os min mit mine din sin sit sine deres som hvad hvem hvornår \
        hvor hvorfor hvordan hvilken så også kun meget mere mest end her der dette denne disse alle \
        mange siden fordi"),
];

/// Endings of longer words, in the order of [`WORDS`].
#[rustfmt::skip]
pub(super) const ENDINGS: [&str; WORDS.len()] = [
    "ing ings tion tions sion ness ful less ough ould ight ently ably ally ously ely edly ed est wn ship",
    "ung ungen keit heit lich liche lichen isch ische ischen schaft chen ieren iert tet",
    "ción ciones sión dad dades mente ando iendo ado ados ada adas ido idos illo illa ajo ero",
    "tion tions sion ment ments eux euse euses ité ités aient ais ait ons ez ique iques eur eurs elle ère",
    "zione zioni sione mente tà ando endo ato ati ata ate ito uto etto etta aggio oni ini iamo iare anza",
    "ção ções são dade dades mente ando endo indo ado ados ada adas ido idos inho inha agem ões ães eiro eira",
    "ing ingen heid lijk lijke tie ties aar eren eerd schap ijn ijk ijkt ende isch ische oor aat",
    "ość ości anie enie ować ego emu ych ymi ach ami cja cji eś ał ała ić yć ze",
    "ning ningar het heter lig liga ligt ande arna erna orna ade aste skt ism ar or",
    "ning ninger hed heder lig lige ligt ende erne ede este skt isme else elser et",
];

/// Letters beyond a to z, in the order of [`WORDS`].
#[rustfmt::skip]
pub(super) const ALPHABETS: [&str; WORDS.len()] = [
    "",
    "äöüß",
    "áéíóúñü",
    "àâçèéêëîïôùûüÿœæ",
    "àèéìíîòóù",
    "áâãàçéêíóôõú",
    "ëïéèüöij",
    "ąćęłńóśźż",
    "åäöé",
    "åæøé",
];

/// Scripts that identify a language, with their first and last character; the scripts of one language are
/// adjacent.
pub(super) const SCRIPTS: [(&str, u32, u32); 12] = [
    ("el", 0x370, 0x3FF),
    ("ru", 0x400, 0x52F),
    ("he", 0x590, 0x5FF),
    ("ar", 0x600, 0x6FF),
    ("hi", 0x900, 0x97F),
    ("th", 0xE00, 0xE7F),
    ("ko", 0x1100, 0x11FF),
    ("ko", 0xAC00, 0xD7A3),
    ("ja", 0x3040, 0x309F),
    ("ja", 0x30A0, 0x30FF),
    ("zh", 0x3400, 0x9FFF),
    ("zh", 0x2_0000, 0x3_1FFF),
];
