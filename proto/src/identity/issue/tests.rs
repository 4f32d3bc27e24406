use rcgen::CustomExtension;

use super::*;

const SERIAL: Serial = [1; 16];
const VALIDITY: Validity = Validity { from: 1_767_225_600, until: 1_798_761_600 };
/// Of an extension that nobody knows.
const UNKNOWN: [u64; 9] = [1, 3, 6, 1, 4, 1, 311, 99, 1];

fn unknown(is_critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&UNKNOWN, vec![5, 0]);
    extension.set_criticality(is_critical);
    extension
}

/// Of what is written and of who signs it.
type Change = fn(&mut CertificateParams, &mut CertificateParams);

/// Certificates that the authority's key has signed, but that are not made as
/// they are here: by another version, or another program.
#[test]
fn what_others_make_is_taken_if_it_means_the_same() {
    let [ca, key] = [[1; 32], [2; 32]].map(|seed| KeyPair::from_seed(&seed));
    let der = Authority::create(&ca, SERIAL, VALIDITY).expect("it can be made");
    let trusted = Authority::read(&der).expect("it is good");
    let node = Certified {
        key: key.public(),
        name: "h1".parse().expect("a name"),
        locators: Vec::new(),
        home: Vec::new(),
    };
    let cases: [(&str, Change, Option<CertificateError>); 11] = [
        ("the same", |_, _| {}, None),
        ("no basic constraints", |it, _| it.is_ca = IsCa::NoCa, None),
        (
            "other names",
            |it, _| {
                it.subject_alt_names.extend([
                    SanType::URI(ascii("ila:colour:green".to_owned())),
                    SanType::DnsName(ascii("elsewhere".to_owned())),
                    SanType::Rfc822Name(ascii("a@b".to_owned())),
                ]);
            },
            None,
        ),
        ("an extension", |it, _| it.custom_extensions.push(unknown(false)), None),
        (
            "a critical extension",
            |it, _| it.custom_extensions.push(unknown(true)),
            Some(CertificateError::Malformed),
        ),
        ("no usage", |it, _| it.key_usages.clear(), Some(CertificateError::Malformed)),
        (
            "another usage",
            |it, _| it.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            Some(CertificateError::Malformed),
        ),
        (
            "a node that may certify",
            |it, _| it.key_usages.push(KeyUsagePurpose::KeyCertSign),
            Some(CertificateError::Malformed),
        ),
        (
            "another authority",
            |it, _| {
                it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                it.key_usages.push(KeyUsagePurpose::KeyCertSign);
            },
            Some(CertificateError::OfAuthority),
        ),
        ("no names", |it, _| it.subject_alt_names.clear(), Some(CertificateError::Nameless)),
        (
            "an authority of another name",
            |_, issuer| issuer.distinguished_name.push(DnType::CommonName, "other CA"),
            Some(CertificateError::Foreign),
        ),
    ];
    for (case, change, error) in cases {
        let mut params = certified(&node, SERIAL, VALIDITY).expect("it is good");
        let mut issuer = authority(ca.public(), SERIAL, VALIDITY).expect("it is good");
        change(&mut params, &mut issuer);
        let der = sign(&params, node.key, issuer, &ca);
        let expected = error.map_or(Ok(node.clone()), Err);
        assert_eq!(trusted.certified(&der, None), expected, "{case}");
    }
}
